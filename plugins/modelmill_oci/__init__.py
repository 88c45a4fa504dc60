"""Container images and OCI artifacts: releases in registries, images, and files for orchestrators."""

from collections.abc import Iterable

from modelmill import Publication, Published, Pulled, PullJob, Remote, hookimpl
from modelmill_oci.access import Access


def _publish(job: Publication[Access]) -> Published:
    from modelmill_oci.publish import publish

    return publish(job)


def _pull(job: PullJob[Access]) -> Pulled:
    from modelmill_oci.pull import pull

    return pull(job)


@hookimpl
def modelmill_remotes() -> Iterable[Remote[Access]]:
    """OCI registries."""
    yield Remote(scheme="oci", options=Access, publish=_publish, pull=_pull)
