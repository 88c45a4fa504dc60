"""A GGUF artifact as Docker Model Runner takes it: the same weight blob under a second manifest.

docker/model-runner: pkg/distribution/types/config.go, pkg/distribution/internal/gguf/create.go.
"""

from pathlib import PurePosixPath

from modelmill import ConvertError
from modelmill_oci import artifact, image
from modelmill_oci.artifact import Artifact
from modelmill_oci.image import Image
from modelmill_oci.media import (
    DOCKER_AI_CONFIG,
    DOCKER_AI_GGUF,
    DOCKER_AI_LICENSE,
    DOCKER_AI_MMPROJ,
    DOCKER_AI_TEMPLATE,
    FILEPATH,
    UNTESTED,
)

FORM = "docker-model-runner"


def pack(found: Artifact) -> Image:
    """The Docker Model Runner artifact. Raises ConvertError for what is not GGUF."""
    if found.manifest.format != "gguf":
        raise ConvertError(
            f"target {found.manifest.target!r} is {found.manifest.format}; Docker Model Runner takes gguf"
        )
    typed = {path: media_type for path in found.blobs if (media_type := _type(path))}
    order = sorted(typed, key=lambda path: (typed[path] != DOCKER_AI_GGUF, path))
    manifest = found.manifest
    config = {
        "config": {
            "format": "gguf",
            "quantization": manifest.scheme or "unknown",
            "parameters": artifact.parameters(manifest.parameters),
            "architecture": manifest.architecture or "unknown",
            "size": _size(sum(found.blobs[path].size for path in order if typed[path] == DOCKER_AI_GGUF)),
        },
        "descriptor": {},
        "rootfs": {"type": "rootfs", "diff_ids": [found.blobs[path].digest for path in order]},
    }
    names = {path: {FILEPATH: path, UNTESTED: "false"} for path in order}
    return image.manifest(
        config=image.json_blob(config),
        config_type=DOCKER_AI_CONFIG,
        layers=[(found.blobs[path], image.layer(found.blobs[path], typed[path], names[path])) for path in order],
        annotations=artifact.annotations(manifest),
        platform=found.platform,
    )


def _type(path: str) -> str | None:
    name = PurePosixPath(path).name
    if name.endswith(".gguf"):
        return DOCKER_AI_MMPROJ if name.startswith("mmproj") else DOCKER_AI_GGUF
    if name.startswith(("LICENSE", "LICENCE")):
        return DOCKER_AI_LICENSE
    return DOCKER_AI_TEMPLATE if name.endswith(".jinja") else None


def _size(count: int) -> str:
    """Bytes as the runner shows them: decimal units, two places."""
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= limit:
            return f"{count / limit:.2f}{unit}"
    return f"{count}B"
