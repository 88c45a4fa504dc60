"""Container images and OCI artifacts: releases in registries, images, and files for orchestrators."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from modelmill import (
    Location,
    Opener,
    PackageJob,
    Packager,
    Publication,
    Published,
    Pulled,
    PullJob,
    Remote,
    Resolution,
    Source,
    hookimpl,
)
from modelmill_oci.access import Access
from modelmill_oci.deployment import DeployOptions
from modelmill_oci.options import ImageOptions, LayoutOptions, NoOptions

MODELMILL_API = 1


def _publish(job: Publication[Access]) -> Published:
    from modelmill_oci.publish import publish

    return publish(job)


def _pull(job: PullJob[Access]) -> Pulled:
    from modelmill_oci.pull import pull

    return pull(job)


def _modelpack(job: PackageJob[LayoutOptions]) -> None:
    from modelmill_oci.package import package_modelpack

    package_modelpack(job)


def _docker_model(job: PackageJob[NoOptions]) -> None:
    from modelmill_oci.package import package_docker_model

    package_docker_model(job)


def _image(job: PackageJob[ImageOptions]) -> None:
    from modelmill_oci.package import package_image

    package_image(job)


def _docker(job: PackageJob[ImageOptions]) -> None:
    from modelmill_oci.package import package_docker

    package_docker(job)


def _load(folder: Path) -> str:
    from modelmill_oci.engine import load

    return load(folder)


def _kubernetes(job: PackageJob[DeployOptions]) -> None:
    from modelmill_oci.kubernetes import package

    package(job)


def _compose(job: PackageJob[DeployOptions]) -> None:
    from modelmill_oci.compose import package

    package(job)


def _quadlet(job: PackageJob[DeployOptions]) -> None:
    from modelmill_oci.quadlet import package

    package(job)


def _resolve(location: Location, scratch: Path) -> Resolution:
    from modelmill_oci.source import resolve

    return resolve(location, scratch)


def _connect(location: Location, scratch: Path) -> AbstractContextManager[Opener]:
    from modelmill_oci.source import connect

    return connect(location, scratch)


@hookimpl
def modelmill_sources() -> Iterable[Source]:
    """Models in registries."""
    yield Source(name="oci", resolve=_resolve, connect=_connect)


@hookimpl
def modelmill_packagers() -> Iterable[Packager[Any]]:
    """Layouts of artifacts and images, an archive that every engine loads, and files for orchestrators."""
    yield Packager(name="modelpack", formats=(), options=LayoutOptions, package=_modelpack, table="modelpack")
    yield Packager(name="docker-model-runner", formats=("gguf",), options=NoOptions, package=_docker_model)
    yield Packager(name="image", formats=(), options=ImageOptions, package=_image, table="image")
    yield Packager(
        name="docker",
        formats=(),
        options=ImageOptions,
        package=_docker,
        load=_load,
        table="image",
        requirement="modelmill[docker]",
    )
    for name, package in (("kubernetes", _kubernetes), ("compose", _compose), ("quadlet", _quadlet)):
        yield Packager(
            name=name, formats=("gguf", "onnx"), options=DeployOptions, package=package, verb="deploy", table="deploy"
        )


@hookimpl
def modelmill_remotes() -> Iterable[Remote[Access]]:
    """OCI registries."""
    yield Remote(scheme="oci", options=Access, publish=_publish, pull=_pull, tables=("image",))
