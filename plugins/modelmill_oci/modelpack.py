"""An artifact as a CNCF ModelPack: each file a raw layer, byte for byte.

modelpack/model-spec: docs/spec.md, docs/config.md, schema/config-schema.json.
"""

from typing import Any

from modelmill_artifacts.manifest import PROVENANCE
from modelmill_oci import artifact, image
from modelmill_oci.artifact import Artifact
from modelmill_oci.image import Image
from modelmill_oci.media import FILEPATH, MODEL_CONFIG, MODEL_DOC, MODEL_MANIFEST, MODEL_WEIGHT, MODEL_WEIGHT_CONFIG

FORM = "modelpack"
_TYPES = {"weight": MODEL_WEIGHT, "config": MODEL_WEIGHT_CONFIG, "doc": MODEL_DOC}
_PRECISIONS = {"BF16": "bf16", "F16": "fp16", "F32": "fp32", "fp16": "fp16", "bf16": "bf16", "fp32": "fp32"}


def pack(found: Artifact, *, draft_annotations: bool = False) -> Image:
    """The ModelPack of an artifact. Weights come first; nothing is compressed, no byte is copied."""
    order = sorted(found.blobs, key=lambda path: (list(_TYPES).index(artifact.kind(path)), path))
    layers = [
        (found.blobs[path], image.layer(found.blobs[path], _TYPES[artifact.kind(path)], {FILEPATH: path}))
        for path in order
    ]
    said = artifact.annotations(found.manifest)
    return image.manifest(
        config=image.json_blob(config(found, [blob.digest for blob, _ in layers])),
        config_type=MODEL_CONFIG,
        layers=layers,
        artifact_type=MODEL_MANIFEST,
        annotations=said | (_draft(found) if draft_annotations else {}),
        platform=found.platform,
    )


def config(found: Artifact, diff_ids: list[str]) -> dict[str, Any]:
    """The configuration blob. There is no `createdAt`: equal artifacts are equal on any day."""
    manifest = found.manifest
    source = next((item for item in manifest.sources if item.role == "model"), None)
    descriptor: dict[str, Any] = {"name": manifest.name, "version": manifest.version, "title": manifest.name}
    if manifest.architecture:
        descriptor["family"] = manifest.architecture
    if manifest.licence:
        descriptor["licenses"] = [manifest.licence]
    if source:
        descriptor["sourceURL"] = source.uri
        descriptor["revision"] = source.revision
    technical: dict[str, Any] = {"format": manifest.format}
    if manifest.architecture:
        technical["architecture"] = "transformer"
    if manifest.parameters:
        technical["paramSize"] = artifact.parameters(manifest.parameters)
    if manifest.scheme in _PRECISIONS:
        technical["precision"] = _PRECISIONS[manifest.scheme]
    elif manifest.scheme:
        technical["quantization"] = manifest.scheme
    return {
        "descriptor": descriptor,
        "config": technical,
        "modelfs": {"type": "layers", "diffIds": diff_ids},
    }


def _draft(found: Artifact) -> dict[str, str]:
    """The drafted annotations of the CNCF's AI conformance (cncf/toc pull request 2299): they may change."""
    said = {
        "org.cncf.ai.packaging.format": "modelpack",
        "org.cncf.ai.lifecycle.status": "experimental" if found.manifest.flags.experimental else "validated",
        "org.cncf.ai.security.sbom.format": "cyclonedx",
    }
    if PROVENANCE in found.blobs:
        said["org.cncf.ai.security.provenance.type"] = "slsa-v1.0"
    return said
