"""A finished release → one index in a registry, with all that proves what it is."""

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelmill import Publication, Published, RemoteError
from modelmill_artifacts import canonical, evidence, manifest, release
from modelmill_artifacts.release import RELEASE, RELEASE_SIGNATURE, Release
from modelmill_oci import (
    artifact,
    docker_model,
    image,
    model_image,
    modelpack,
    reference,
    referrers,
    server_image,
    transfer,
)
from modelmill_oci.access import Access
from modelmill_oci.artifact import Artifact
from modelmill_oci.content import of_bytes, sha256
from modelmill_oci.image import Image, Json
from modelmill_oci.media import EMPTY, EMPTY_BYTES, INDEX, MANIFEST, TITLE, VERSION
from modelmill_oci.media import RELEASE as RELEASE_TYPE
from modelmill_oci.package import placed
from modelmill_oci.registry import Registry
from modelmill_oci.transfer import Moved

FORM = "modelmill.form"
RELEASE_FORM = "release"
RELEASE_PREDICATE = "https://in-toto.io/attestation/release/v0.1"
_IMAGES = (server_image.FORM, model_image.FORM)
_UNKNOWN = {"architecture": "unknown", "os": "unknown"}


def publish(job: Publication[Access]) -> Published:
    """Push a release under its version and return what became of it.

    The order is such that a kill at any instant leaves nothing that a tag stands for and that is not whole:
    blobs, manifests, referrers, tags of single artifacts, and last the tag of the index. Raises RemoteError.
    """
    found = release.read(job.release)
    where = reference.parse(job.reference)
    if where.digest:
        raise RemoteError(f"{where}: a release is published under a tag; leave the digest out")
    where = where if where.tag else reference.tagged(where, found.version)
    artifacts = {entry.target: artifact.read(job.release / entry.path) for entry in found.artifacts}
    images = {target: _forms(item, job) for target, item in artifacts.items()}
    _check_servers(job.options, images)
    index, described = compose(job.release, found, images)
    digest = sha256(index)
    with Registry(where, job.options) as registry:
        tags = _tags(str(where.tag), images)
        transfer.check_tag(registry, str(where.tag), digest)
        for tag, item in tags.items():
            transfer.check_tag(registry, tag, item.digest)
        moved = transfer.push_image(registry, described)
        for target, forms in images.items():
            for form, item in forms.items():
                step = transfer.push_image(registry, item)
                job.report(f"{target} as {form}: {item.digest}, {step.moved} bytes moved, {step.skipped} there already")
                moved += step
            moved += _attach(registry, artifacts[target], forms[modelpack.FORM], job)
        moved += _sign_index(registry, index, found, job)
        for tag, item in tags.items():
            transfer.claim_tag(registry, tag, item.manifest, MANIFEST, item.digest)
        transfer.claim_tag(registry, str(where.tag), index, INDEX, digest)
    return Published(reference=f"{where}@{digest}", digest=digest, bytes_moved=moved.moved, bytes_skipped=moved.skipped)


def compose(folder: Path, found: Release, images: Mapping[str, Mapping[str, Image]]) -> tuple[bytes, Image]:
    """The index of a release, and the manifest that brings its release.json: equal releases, equal bytes.

    Images come first, so that an engine that takes the first entry of its platform gets one that it can run. What an
    entry is says an annotation and not `artifactType`: tools from before image specification 1.1 drop that field
    from an index that they copy, and with it the index's digest.
    """
    files = {RELEASE: of_bytes(manifest.contents(folder / RELEASE))}
    if (folder / RELEASE_SIGNATURE).exists():
        files[RELEASE_SIGNATURE] = of_bytes(manifest.contents(folder / RELEASE_SIGNATURE))
    described = image.manifest(
        config=of_bytes(EMPTY_BYTES),
        config_type=EMPTY,
        layers=[(blob, image.layer(blob, "application/json", {TITLE: name})) for name, blob in files.items()],
        artifact_type=RELEASE_TYPE,
    )
    said = {TITLE: found.name, VERSION: found.version}
    listed: list[Json] = []
    for form in (*_IMAGES, modelpack.FORM, docker_model.FORM):
        for target in sorted(images):
            if item := images[target].get(form):
                notes = canonical.loads(item.manifest, "manifest", canonical.dumps)["annotations"]
                listed.append(replace(item, artifact_type="").descriptor({**notes, FORM: form}))
    entry = replace(described, artifact_type="").descriptor({FORM: RELEASE_FORM})
    listed.append({**entry, "platform": _UNKNOWN})
    return image.index(listed, said), described


def _forms(found: Artifact, job: Publication[Access]) -> dict[str, Image]:
    """What an artifact is published as."""
    options = job.options
    forms = {modelpack.FORM: modelpack.pack(found, draft_annotations=options.draft_annotations)}
    if found.manifest.format == "gguf":
        forms[docker_model.FORM] = docker_model.pack(found)
    if any(fnmatch.fnmatchcase(found.manifest.target, pattern) for pattern in options.servers):
        if not options.image.base:
            raise RemoteError(f"servers names {found.manifest.target!r}, and build.toml's [image] table has no base")
        forms[server_image.FORM] = server_image.pack(found, placed(options.image, job.root))
    elif options.images:
        forms[model_image.FORM] = model_image.pack(found, Path(options.shell) if options.shell else None)
    return forms


def _check_servers(options: Access, images: Mapping[str, Mapping[str, Image]]) -> None:
    """Refuse a pattern that names no target of the release."""
    for pattern in options.servers:
        if not fnmatch.filter(images, pattern):
            raise RemoteError(f"servers names {pattern!r}, and the release has {', '.join(sorted(images))}")


def _tags(version: str, images: Mapping[str, Mapping[str, Image]]) -> dict[str, Image]:
    """The tags of single artifacts: images under `<version>-<target>`, other forms with their name behind."""
    return {
        f"{version}-{target}" if form in _IMAGES else f"{version}-{target}-{form}": item
        for target, forms in images.items()
        for form, item in forms.items()
    }


def _attach(registry: Registry, found: Artifact, packed: Image, job: Publication[Access]) -> Moved:
    moved = Moved()
    subject = packed.descriptor()
    if registry.digest_of(packed.digest) is None:
        raise RemoteError(f"{registry.reference.name} lost {packed.digest} right after it was pushed; publish again")
    for item in referrers.of_artifact(found, subject):
        moved += referrers.publish(registry, item, subject)
    predicate = referrers.provenance_predicate(found)
    if job.sign is not None and predicate is not None:
        _, step = referrers.publish_statement(registry, subject, referrers.PROVENANCE_TYPE, predicate, job.sign)
        moved += step
    return moved


def _sign_index(registry: Registry, index: bytes, found: Release, job: Publication[Access]) -> Moved:
    digest = sha256(index)
    if registry.digest_of(digest) is None:
        registry.put_manifest(index, INDEX)
    if job.sign is None:
        return Moved()
    subject: Mapping[str, Any] = {"mediaType": INDEX, "digest": digest, "size": len(index)}
    predicate = {"purl": evidence.release_purl(found.name, found.version)}
    _, moved = referrers.publish_statement(registry, subject, RELEASE_PREDICATE, predicate, job.sign)
    return moved
