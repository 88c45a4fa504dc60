"""Where checkpoints come from: folders of this machine, and packages of a Python index."""

from collections.abc import Iterable

from modelmill import Source, hookimpl


@hookimpl
def modelmill_sources() -> Iterable[Source]:
    """The sources `path` and `pypi`."""
    from modelmill_sources import path, pypi

    return (path.SOURCE, pypi.SOURCE)
