"""The descriptions and signatures of a finished folder, each written over what was there before it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from modelmill_artifacts import manifest, oms, provenance, release, sbom, tree
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.evidence import Evidence
from modelmill_artifacts.manifest import MANIFEST, PROVENANCE, SBOM, SIGNATURE, File, Manifest
from modelmill_artifacts.release import RELEASE, RELEASE_SIGNATURE, Release
from modelmill_artifacts.signature import IN_TOTO, Signer, sign_statement


def describe(
    folder: Path, facts: Manifest, made: Evidence, signer: Signer | None, known: Mapping[str, str] | None = None
) -> Manifest:
    """Write SBOM, manifest, provenance and signature into a folder that holds what the runtime loads.

    `facts` is the manifest without its files: they are taken from the folder. `known` holds the sha256 of
    those that were hashed before; the others are read. Without a signer there is neither provenance, which
    means nothing unsigned, nor signature. Returns the manifest as written. Raises ArtifactError for a folder
    with something that no artifact can hold, or that is described already.
    """
    files = tree.files(folder, known)
    for file in files:
        if file.path in (SBOM, *manifest.UNLISTED):
            raise ArtifactError(f"{folder}: {file.path!r} is there already; describe a folder once")
    draft = replace(facts, files=files)
    bom = sbom.dump(draft, made)
    whole = replace(draft, files=tuple(sorted((*files, _file(SBOM, bom)), key=lambda file: file.path)))
    data = manifest.dump(whole)
    (folder / SBOM).write_bytes(bom)
    (folder / MANIFEST).write_bytes(data)
    if signer is not None:
        digests = {file.path: file.sha256 for file in (*whole.files, _file(MANIFEST, data))}
        statement = sign_statement(IN_TOTO, provenance.payload(whole, digests, made), signer)
        (folder / PROVENANCE).write_bytes(statement)
        digests[PROVENANCE] = sha256(statement).hexdigest()
        name = f"{whole.name}/{whole.version}/{whole.target}"
        (folder / SIGNATURE).write_bytes(sign_statement(IN_TOTO, oms.payload(name, digests), signer))
    return whole


def index_files(folder: Path, targets: Iterable[str], signer: Signer | None) -> tuple[Release, bytes, bytes | None]:
    """The index over a release's finished artifacts, one folder for each target; its bytes, and its signature's.

    Writes nothing. Raises ArtifactError for an artifact that is not finished and for two that differ in name or
    version.
    """
    found = release.index(folder, targets)
    data = release.dump(found)
    return found, data, None if signer is None else sign_statement(IN_TOTO, release.payload(found, data), signer)


def publish_index(folder: Path, targets: Iterable[str], signer: Signer | None) -> Release:
    """Write the index over a release's finished artifacts and its signature; raises as `index_files` does."""
    found, data, signature = index_files(folder, targets, signer)
    (folder / RELEASE).write_bytes(data)
    (folder / RELEASE_SIGNATURE).unlink(missing_ok=True)
    if signature is not None:
        (folder / RELEASE_SIGNATURE).write_bytes(signature)
    return found


def _file(path: str, data: bytes) -> File:
    return File(path=path, sha256=sha256(data).hexdigest(), size=len(data))
