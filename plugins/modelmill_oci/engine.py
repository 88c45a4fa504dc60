"""An image archive into a Docker or podman engine, through the docker SDK."""

import os
import socket
from pathlib import Path
from typing import Any

from modelmill import ConvertError
from modelmill_oci.archive import NAME

REQUIREMENT = "modelmill[docker]"


def load(folder: Path) -> str:
    """Load a package's archive and return the name that the image has in the engine.

    The engine is that of DOCKER_HOST, else the local one. Raises ConvertError where there is no SDK, no engine,
    or where it refuses.
    """
    docker = sdk()
    client = connect(docker)
    try:
        with (folder / NAME).open("rb") as file:
            loaded = client.images.load(file)
    except docker.errors.DockerException as error:
        raise ConvertError(f"the engine refuses {folder / NAME}: {error}") from error
    finally:
        client.close()
    names = [tag for item in loaded for tag in item.tags]
    return names[0] if names else str(loaded[0].id)


def sdk() -> Any:
    """The docker SDK. Raises ConvertError that says how to install it."""
    try:
        import docker  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConvertError(f"talking to an engine needs the docker SDK; pip install '{REQUIREMENT}'") from error
    return docker


def connect(docker: Any) -> Any:
    """A client of the engine. Raises ConvertError where none answers."""
    try:
        _knock(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
        return docker.from_env(timeout=600)
    except (docker.errors.DockerException, OSError) as error:
        raise ConvertError(f"no Docker or podman engine answers; start one or set DOCKER_HOST: {error}") from error


def _knock(host: str) -> None:
    """Raise OSError where a local socket has nobody behind it: the SDK would leave its own socket open then."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(host.removeprefix("unix://"))
