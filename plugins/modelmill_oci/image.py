"""One manifest or index with all that it names: the value that layouts, archives and registries are given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelmill_artifacts import canonical
from modelmill_oci.content import Blob, of_bytes, sha256
from modelmill_oci.media import INDEX, MANIFEST
from modelmill_oci.platform import Platform

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A manifest's bytes and its blobs, config first; `annotations` are those of its descriptor in an index."""

    manifest: bytes
    blobs: tuple[Blob, ...]
    artifact_type: str = ""
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The manifest's digest: the identity of the whole."""
        return sha256(self.manifest)

    def descriptor(self, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """How an index names it (image specification 1.1, "OCI Content Descriptors")."""
        found: dict[str, Any] = {"mediaType": MANIFEST, "digest": self.digest, "size": len(self.manifest)}
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        if self.platform:
            found["platform"] = self.platform.value()
        if merged := {**self.annotations, **(annotations or {})}:
            found["annotations"] = merged
        return found


def layer(blob: Blob, media_type: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """How a manifest names a blob."""
    found: dict[str, Any] = {"mediaType": media_type, "digest": blob.digest, "size": blob.size}
    return {**found, "annotations": dict(annotations)} if annotations else found


def manifest(
    *,
    config: Blob,
    config_type: str,
    layers: Iterable[tuple[Blob, Json]],
    artifact_type: str = "",
    annotations: Mapping[str, str] | None = None,
    subject: Json | None = None,
    platform: Platform | None = None,
) -> Image:
    """An image manifest over blobs and the descriptors by which it names them."""
    pairs = list(layers)
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layer(config, config_type),
        "layers": [named for _, named in pairs],
    }
    if artifact_type:
        value["artifactType"] = artifact_type
    if annotations:
        value["annotations"] = dict(annotations)
    if subject:
        value["subject"] = dict(subject)
    return Image(
        manifest=canonical.dumps(value),
        blobs=(config, *(blob for blob, _ in pairs)),
        artifact_type=artifact_type,
        platform=platform,
    )


def index(descriptors: Iterable[Json], annotations: Mapping[str, str] | None = None, artifact_type: str = "") -> bytes:
    """The bytes of an image index."""
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(descriptors)}
    if artifact_type:
        value["artifactType"] = artifact_type
    if annotations:
        value["annotations"] = dict(annotations)
    return canonical.dumps(value)


def json_blob(value: Any) -> Blob:
    """A config blob in canonical JSON."""
    return of_bytes(canonical.dumps(value))
