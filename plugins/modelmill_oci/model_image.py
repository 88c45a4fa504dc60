"""An artifact as an ordinary image that holds it under /models: for volumes, ModelCar and `docker create`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill_oci import artifact, image, tarlayer
from modelmill_oci.artifact import Artifact
from modelmill_oci.content import Blob
from modelmill_oci.image import Image
from modelmill_oci.media import CONFIG, FILEPATH, LAYER
from modelmill_oci.platform import Platform, of_image

FORM = "model-image"
_APPLETS = ("sh", "ln", "ls", "sleep", "cat", "test", "[", "true")
"""What KServe's ModelCar calls in the image (kserve/kserve, pkg/utils/storage.go), and what a person looks with."""


def pack(found: Artifact, shell: Path | None = None) -> Image:
    """The model image; `shell` is a static busybox that makes it runnable, which ModelCar needs."""
    layers = model_layers(found)
    if shell is not None:
        layers = [_shell_layer(shell), *layers]
    platform = of_image(found.platform)
    command = {"Cmd": ["/bin/sh"]} if shell else {}
    said = artifact.annotations(found.manifest)
    labels = {**said, "org.containers.type": "ai.image.model.raw"}
    runtime = {"Labels": labels, "WorkingDir": "/models", "User": "65532:65532", **command}
    return build(layers, platform, runtime, said)


def model_layers(found: Artifact) -> list[tuple[Blob, Mapping[str, str]]]:
    """The artifact under /models: one layer of small files, one for each weight file, and their annotations.

    A GGUF's first file is also `model.file`, by which RamaLama finds it.
    """
    weights = found.weights()
    small = {f"models/{path}": found.folder / path for path in found.blobs if path not in weights}
    links = {}
    if found.manifest.format == "gguf" and weights:
        links["models/model.file"] = weights[0]
    layers: list[tuple[Blob, Mapping[str, str]]] = [(tarlayer.layer(small, links), {})]
    layers += [(tarlayer.layer({f"models/{path}": found.folder / path}), {FILEPATH: path}) for path in weights]
    return layers


def build(
    layers: list[tuple[Blob, Mapping[str, str]]],
    platform: Platform,
    runtime: Mapping[str, Any],
    annotations: Mapping[str, str],
) -> Image:
    """An image of uncompressed layers; `runtime` is the `config` of its configuration. No time is in it."""
    config = {
        **platform.value(),
        "config": dict(runtime),
        "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob, _ in layers]},
    }
    named = [(blob, image.layer(blob, LAYER, said)) for blob, said in layers]
    return image.manifest(
        config=image.json_blob(config), config_type=CONFIG, layers=named, annotations=annotations, platform=platform
    )


def _shell_layer(shell: Path) -> tuple[Blob, Mapping[str, str]]:
    links = {f"bin/{name}": "busybox" for name in _APPLETS}
    return tarlayer.layer({"bin/busybox": shell}, links, executable={"bin/busybox"}), {}
