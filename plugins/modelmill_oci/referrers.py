"""What is attached to a published manifest: its SBOM, its provenance, its signatures, and a statement on itself."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from modelmill import RemoteError
from modelmill_artifacts import canonical
from modelmill_artifacts.manifest import PROVENANCE, SBOM, SIGNATURE
from modelmill_oci import image
from modelmill_oci.artifact import Artifact
from modelmill_oci.content import Blob, of_bytes, sha256
from modelmill_oci.image import Image, Json
from modelmill_oci.media import CYCLONEDX, EMPTY, EMPTY_BYTES, INDEX, MANIFEST, SIGSTORE_BUNDLE
from modelmill_oci.registry import Registry, fallback_tag
from modelmill_oci.transfer import Moved, push_image

Sign = Callable[[bytes], bytes]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
CONTENT = "dev.sigstore.bundle.content"
PAYLOAD = "modelmill.statement.digest"


def of_artifact(found: Artifact, subject: Json) -> list[Image]:
    """The referrers that an artifact brings along: files of its own folder, the blobs pushed already."""
    images = [attach(found.blobs[SBOM], CYCLONEDX, subject)]
    if PROVENANCE in found.blobs:
        # Its subjects are files, not this manifest: the type keeps verifiers of manifests from taking it for theirs.
        images.append(attach(found.blobs[PROVENANCE], f"{SIGSTORE_BUNDLE};files=provenance", subject, SIGSTORE_BUNDLE))
    if SIGNATURE in found.blobs:
        images.append(attach(found.blobs[SIGNATURE], f"{SIGSTORE_BUNDLE};files=signature", subject, SIGSTORE_BUNDLE))
    return images


def attach(
    blob: Blob, artifact_type: str, subject: Json, media_type: str = "", annotations: Mapping[str, str] | None = None
) -> Image:
    """A manifest that refers to another and holds one blob ("Guidelines for Artifact Usage")."""
    named = image.layer(blob, media_type or artifact_type)
    plain = {key: subject[key] for key in ("mediaType", "digest", "size")}
    made = image.manifest(
        config=of_bytes(EMPTY_BYTES),
        config_type=EMPTY,
        layers=[(blob, named)],
        artifact_type=artifact_type,
        annotations=annotations,
        subject=plain,
    )
    return Image(
        manifest=made.manifest, blobs=made.blobs, artifact_type=artifact_type, annotations=dict(annotations or {})
    )


def statement(subject: Json, name: str, predicate_type: str, predicate: Any) -> bytes:
    """An in-toto statement about one manifest by its digest."""
    digest = {"sha256": subject["digest"].removeprefix("sha256:")}
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": digest}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return canonical.dumps(value)


def provenance_predicate(found: Artifact) -> Any:
    """The SLSA predicate that an artifact's provenance holds; None for an unsigned artifact."""
    if PROVENANCE not in found.blobs:
        return None
    bundle = json.loads(b"".join(bytes(block) for block in found.blobs[PROVENANCE].content.blocks()))
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]


def publish_statement(
    registry: Registry, subject: Json, predicate_type: str, predicate: Any, sign: Sign
) -> tuple[str, Moved]:
    """Sign a statement on a manifest and attach it, unless the very statement is attached already.

    That is seen before signing: a key whose signatures differ each time would add one with every publish.
    """
    payload = statement(subject, registry.reference.name, predicate_type, predicate)
    said = {PREDICATE_TYPE: predicate_type, CONTENT: "dsse-envelope", PAYLOAD: sha256(payload)}
    for known in registry.referrers(subject["digest"]):
        if (known.get("annotations") or {}).get(PAYLOAD) == said[PAYLOAD]:
            return str(known["digest"]), Moved()
    made = attach(of_bytes(sign(payload)), SIGSTORE_BUNDLE, subject, annotations=said)
    return made.digest, publish(registry, made, subject)


def publish(registry: Registry, made: Image, subject: Json) -> Moved:
    """Push a referrer and have it listed: by the registry, or in the tag that stands in for its list."""
    found = push_image(registry, made)
    digest = str(subject["digest"])
    if any(known.get("digest") == made.digest for known in registry.referrers(digest)):
        return found
    _, listed = registry.put_manifest(made.manifest, MANIFEST)
    if not listed:
        _append(registry, made, digest)
    return found


def _append(registry: Registry, made: Image, digest: str) -> None:
    """Add to the fallback tag's index ("Pushing Manifests with Subject")."""
    tag = fallback_tag(digest)
    known = list(registry.referrers(digest))
    known.append(made.descriptor())
    body = image.index(sorted(known, key=lambda item: str(item.get("digest"))))
    registry.put_manifest(body, INDEX, tag)
    if not any(item.get("digest") == made.digest for item in registry.referrers(digest)):
        raise RemoteError(f"{registry.reference.name} does not list what refers to {digest}; publish again")
