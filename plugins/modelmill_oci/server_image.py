"""An artifact on a base, ready to serve: the runnable server image of a target."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill import ConvertError
from modelmill_artifacts import paths
from modelmill_oci import artifact, base, image, model_image, tarlayer
from modelmill_oci.artifact import Artifact
from modelmill_oci.base import Base
from modelmill_oci.content import Blob
from modelmill_oci.image import Image
from modelmill_oci.media import BASE_DIGEST, BASE_NAME, CONFIG, LAYER
from modelmill_oci.options import ImageOptions
from modelmill_oci.platform import of_image
from modelmill_oci.servers import SERVERS, Server

SITE = "opt/modelmill/site"
LAUNCHER = "opt/modelmill/serve.py"
FORM = "server-image"


def pack(found: Artifact, options: ImageOptions) -> Image:
    """The server image: base, wheels, launcher, model. Raises ConvertError for a base that cannot serve it."""
    platform = of_image(found.platform)
    stand = base.resolve(options, platform)
    own: list[tuple[Blob, Mapping[str, str]]] = []
    if options.wheels:
        own.append((wheels_layer([Path(wheel) for wheel in options.wheels]), {}))
        if not options.server:
            own.append((tarlayer.layer({LAUNCHER: Path(__file__).with_name(_server(found).launcher)}), {}))
    own += model_image.model_layers(found)
    said = artifact.annotations(found.manifest)
    if stand.digest:
        said |= {BASE_DIGEST: stand.digest} | ({BASE_NAME: stand.name} if stand.name else {})
    config = {
        **platform.value(),
        "config": runtime(found, options, stand, said),
        "rootfs": {
            "type": "layers",
            "diff_ids": [*stand.config["rootfs"]["diff_ids"], *(blob.digest for blob, _ in own)],
        },
    }
    layers = [*stand.layers, *((blob, image.layer(blob, LAYER, notes)) for blob, notes in own)]
    return image.manifest(
        config=image.json_blob(config), config_type=CONFIG, layers=layers, annotations=said, platform=platform
    )


def runtime(found: Artifact, options: ImageOptions, stand: Base, labels: Mapping[str, str]) -> dict[str, Any]:
    """The `config` of the image's configuration: command, user, port, health, labels.

    Nothing needs to be written: the image runs with a read-only root. The health check asks the server itself.
    """
    inherited = {key: value for key, value in (stand.config.get("config") or {}).items() if value}
    environment = [item for item in inherited.get("Env", []) if not item.startswith("PYTHONPATH=")]
    if not any(item.startswith("PATH=") for item in environment):
        environment.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    made: dict[str, Any] = {
        "User": options.user,
        "ExposedPorts": {f"{options.port}/tcp": {}},
        "WorkingDir": "/models",
        "StopSignal": "SIGTERM",
        "Labels": {**inherited.get("Labels", {}), **labels},
    }
    command = _command(found, options, inherited)
    if options.wheels:
        environment += [f"PYTHONPATH=/{SITE}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"]
    if options.wheels and not options.server:
        check = ["CMD", "/usr/bin/python3", f"/{LAUNCHER}", "--check", str(options.port)]
        made["Healthcheck"] = {
            "Test": check,
            "Interval": 5_000_000_000,
            "Timeout": 4_000_000_000,
            "StartPeriod": 120_000_000_000,
            "Retries": 3,
        }
    elif "Healthcheck" in inherited:
        made["Healthcheck"] = inherited["Healthcheck"]
    return {**made, "Env": environment, **command}


def wheels_layer(wheels: list[Path]) -> Blob:
    """The files of wheels in one folder of an image; the same wheels give the same bytes.

    Raises ConvertError for a wheel that is none, and for one that installs anything beside its packages.
    """
    members: dict[str, bytes] = {}
    for wheel in wheels:
        if not zipfile.is_zipfile(wheel):
            raise ConvertError(f"{wheel} is no wheel; name the .whl files that `pip download` gives")
        with zipfile.ZipFile(wheel) as archive:
            for item in archive.infolist():
                if item.is_dir():
                    continue
                if ".data/" in item.filename:
                    raise ConvertError(f"{wheel}: {item.filename} belongs outside of packages; use another base")
                members[f"{SITE}/{item.filename}"] = archive.read(item)
    paths.check_all(members, "wheels")
    return tarlayer.in_memory(members)


def _command(found: Artifact, options: ImageOptions, inherited: Mapping[str, Any]) -> dict[str, list[str]]:
    weights = found.weights()
    if not weights:
        raise ConvertError(f"target {found.manifest.target!r} has no weight file to serve")
    words = {"model": f"/models/{weights[0]}", "folder": "/models", "port": str(options.port)}
    if options.server:
        return {"Entrypoint": [word.format(**words) for word in options.server]}
    server = _server(found)
    if options.wheels:
        return {"Entrypoint": ["/usr/bin/python3", f"/{LAUNCHER}", server.model.format(**words), words["port"]]}
    entry = inherited.get("Entrypoint")
    if not entry or not server.arguments:
        raise ConvertError(
            f"base {options.base!r} has no entrypoint that serves {found.manifest.format}; give `wheels` for its "
            f"Python ({server.wheels}), or `server`, the argument vector of a server that it holds"
        )
    return {"Entrypoint": list(entry), "Cmd": [word.format(**words) for word in server.arguments]}


def _server(found: Artifact) -> Server:
    """How the artifact's format is served."""
    server = SERVERS.get(found.manifest.format)
    if server is None:
        raise ConvertError(
            f"target {found.manifest.target!r} is {found.manifest.format}, and a server is known for "
            f"{' and '.join(SERVERS)} only; `server` names the argument vector of one that the base holds"
        )
    return server
