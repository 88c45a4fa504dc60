"""Whether an artifact or a release is whole, signed by a trusted key, and what the policy wants."""

import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from modelmill_artifacts import (
    agreement,
    canonical,
    licence,
    manifest,
    oms,
    part,
    policy,
    provenance,
    release,
    signature,
    tree,
)
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.keys import PublicKey
from modelmill_artifacts.manifest import MANIFEST, PROVENANCE, SBOM, SIGNATURE, Manifest
from modelmill_artifacts.part import PART
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.release import RELEASE, RELEASE_SIGNATURE, Entry, Release

Progress = Callable[[int, int], None]
"""Called from any thread with the bytes that were just hashed and the bytes that all files have."""

_IN_MEMORY = (SBOM, MANIFEST, PROVENANCE)
"""The descriptions: read once, so that the bytes that are judged are the bytes that were hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedArtifact:
    """An artifact that passed: what it is, who signed it, and what its licence asks of who passes it on."""

    path: str
    manifest: Manifest
    key: str
    key_name: str
    development: bool
    files: int
    bytes: int
    obligations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A folder that passed: one artifact, or a release with each of its artifacts.

    `missing` are the targets of the release whose artifacts are not there, and need not be.
    """

    path: str
    release: Release | None
    artifacts: tuple[VerifiedArtifact, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """An artifact's folder whose signature is good: what is signed, and what lies there."""

    folder: Path
    digests: Mapping[str, str]
    sizes: Mapping[str, int]
    key: PublicKey


def verify(
    path: Path,
    accepts: Policy,
    *,
    targets: Collection[str] | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Verified:
    """Check an artifact's or a release's folder: signatures, every file, and that all descriptions agree.

    Of a release, `targets` are the artifacts that must be there, and no other may be; None means all of the
    index, or in a folder that was pulled those that `pulled.json` says were. `threads` 0 takes as many as there
    are cores. Raises ArtifactError that says what is wrong first.
    """
    try:
        return _verify(path.resolve() if path.is_symlink() else path, accepts, targets, threads, progress)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror} ({error.filename})") from error


def _verify(
    path: Path, accepts: Policy, targets: Collection[str] | None, threads: int, progress: Progress | None
) -> Verified:
    trusted = policy.trusted(accepts)
    if (path / RELEASE).exists() or (path / RELEASE).is_symlink():
        found, entries = _release(path, accepts, trusted, targets)
        signed = [_signature(path / item.path, trusted) for item in entries]
    elif not (path / MANIFEST).exists():
        raise ArtifactError(_neither(path))
    else:
        found, entries = None, ()
        signed = [_signature(path, trusted)]
    contents = _contents(signed, threads, progress)
    artifacts = tuple(_artifact(item, contents[item.folder], accepts, trusted) for item in signed)
    for item, artifact, signed_item in zip(entries, artifacts, signed, strict=False):
        _check_entry(found, item, artifact.manifest, contents[signed_item.folder][MANIFEST], path)
    missing = tuple(item.target for item in found.artifacts if item not in entries) if found else ()
    return Verified(path=str(path), release=found, artifacts=artifacts, missing=missing)


def _refuse_unsigned(folder: Path, name: str) -> None:
    if not (folder / name).exists() and not (folder / name).is_symlink():
        raise ArtifactError(
            f"{folder} is unsigned: it has no {name}, so that nothing says whose it is; build it with a key in [sign]"
        )


def _neither(path: Path) -> str:
    """What a folder is that is neither an artifact nor a release."""
    parts = sorted(item.parent.name for item in path.glob(f"*/{MANIFEST}"))
    if parts:
        return (
            f"{path} holds {', '.join(parts)} and no {RELEASE}: the release is not finished; `modelmill build` says "
            "what it lacks, and each artifact's own folder can be verified alone"
        )
    return f"{path} holds neither {MANIFEST}, which an artifact has, nor {RELEASE}, which a release has"


def _release(
    folder: Path, accepts: Policy, trusted: tuple[PublicKey, ...], targets: Collection[str] | None
) -> tuple[Release, tuple[Entry, ...]]:
    """The index of a release, its signature checked, and those of its artifacts that must be there."""
    _refuse_unsigned(folder, RELEASE_SIGNATURE)
    data = manifest.contents(folder / RELEASE)
    where = str(folder / RELEASE_SIGNATURE)
    value, _ = signature.statement(manifest.contents(folder / RELEASE_SIGNATURE), trusted, where)
    found = release.load(data, str(folder / RELEASE))
    if release.payload(found, data) != canonical.dumps(value):
        raise ArtifactError(f"{where}: signs another index than {folder / RELEASE}")
    for what, asked, has in (("name", accepts.name, found.name), ("version", accepts.version, found.version)):
        if asked is not None and asked != has:
            raise ArtifactError(f"{folder / RELEASE}: its {what} is {has!r}, and the policy wants {asked!r}")
    known = {item.target for item in found.artifacts}
    if unknown := sorted(set(targets or ()) - known):
        raise ArtifactError(f"{folder / RELEASE}: has no target {unknown[0]!r}; there is {', '.join(sorted(known))}")
    pulled = part.read(folder, data, known)
    wanted = pulled.targets if targets is None and pulled else targets
    entries = tuple(item for item in found.artifacts if wanted is None or item.target in wanted)
    _check_release_folder(folder, found, entries)
    return found, entries


def _check_release_folder(folder: Path, found: Release, entries: tuple[Entry, ...]) -> None:
    """Refuse whatever lies in a release's folder that is neither index nor one of these artifacts."""
    inside = tuple(f"{item.path}/" for item in entries)
    for path in sorted(tree.listing(folder)):
        if path not in {RELEASE, RELEASE_SIGNATURE, PART} and not path.startswith(inside):
            more = next((item.target for item in found.artifacts if path.startswith(f"{item.path}/")), None)
            if more is not None:
                raise ArtifactError(f"{folder}: holds the artifact {more!r} too, which is not among the targets named")
            raise ArtifactError(f"{folder}: {path!r} is not part of the release; remove the file, or do not trust it")
    for item in entries:
        if not (folder / item.path).is_dir():
            named = ", ".join(other.target for other in entries if (folder / other.path).is_dir())
            part_of = f"; name the targets to verify without it: {named}" if named else ""
            raise ArtifactError(f"{folder}: the artifact {item.path!r} is missing{part_of}")


def _signature(folder: Path, trusted: tuple[PublicKey, ...]) -> _Signed:
    """What an artifact's signature covers, once it is good and the folder holds just that."""
    sizes = tree.listing(folder)
    _refuse_unsigned(folder, SIGNATURE)
    where = str(folder / SIGNATURE)
    value, key = signature.statement(manifest.contents(folder / SIGNATURE), trusted, where)
    digests = oms.read(value, where)
    for path in _IN_MEMORY:
        if path not in digests:
            raise ArtifactError(f"{where}: does not sign {path!r}, which every artifact has")
    tree.compare(folder, {}, {SIGNATURE, *digests}, sizes)
    sized = {path: sizes[path] for path in digests}
    return _Signed(folder=folder, digests=digests, sizes=sized, key=key)


def _contents(signed: list[_Signed], threads: int, progress: Progress | None) -> dict[Path, dict[str, bytes]]:
    """The descriptions of each artifact, once every file of every artifact has the digest that was signed."""
    work = [(item, path) for item in signed for path in item.digests]
    work.sort(key=lambda pair: (-pair[0].sizes[pair[1]], str(pair[0].folder), pair[1]))
    total = sum(item.sizes[path] for item, path in work)
    descriptions: dict[Path, dict[str, bytes]] = {item.folder: {} for item in signed}

    def note(count: int) -> None:
        if progress is not None:
            progress(count, total)

    def digest(pair: tuple[_Signed, str]) -> str:
        item, path = pair
        if path not in _IN_MEMORY:
            return tree.sha256(item.folder / path, note)
        data = manifest.contents(item.folder / path)
        descriptions[item.folder][path] = data
        note(len(data))
        return sha256(data).hexdigest()

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for (item, path), found in zip(work, pool.map(digest, work), strict=True):
            if found != item.digests[path]:
                raise ArtifactError(f"{item.folder}: {path!r} is not what {SIGNATURE} signs: its sha256 is {found}")
    return descriptions


def _artifact(
    signed: _Signed, contents: Mapping[str, bytes], accepts: Policy, trusted: tuple[PublicKey, ...]
) -> VerifiedArtifact:
    """An artifact whose files are what was signed, once its descriptions agree and the policy accepts it."""
    folder = signed.folder
    found = manifest.load(contents[MANIFEST], str(folder / MANIFEST))
    listed = {file.path: file.sha256 for file in found.files}
    described = listed | {path: signed.digests[path] for path in (MANIFEST, PROVENANCE)}
    if described != signed.digests:
        path = min(dict(described.items() ^ signed.digests.items()))
        raise ArtifactError(f"{folder / MANIFEST}: does not list {path!r} as it was signed")
    tree.compare(folder, {file.path: file.size for file in found.files}, {MANIFEST, PROVENANCE}, signed.sizes)
    agreement.check(contents[SBOM], found, str(folder / SBOM))
    where = str(folder / PROVENANCE)
    statement, _ = signature.statement(contents[PROVENANCE], trusted, where)
    provenance.check(statement, found, {path: described[path] for path in described if path != PROVENANCE}, where)
    policy.check_builders(accepts, provenance.builders(statement, where), where)
    policy.check(accepts, found, str(folder))
    return VerifiedArtifact(
        path=str(folder),
        manifest=found,
        key=signed.key.fingerprint,
        key_name=signed.key.name,
        development=signed.key.development,
        files=len(signed.sizes) + 1,
        bytes=sum(signed.sizes.values()),
        obligations=licence.obligations(found.licence) if found.licence else (),
    )


def _check_entry(found: Release | None, item: Entry, artifact: Manifest, data: bytes, folder: Path) -> None:
    """Refuse an artifact that is not the one that the release's index means."""
    if found is None:
        return
    where = folder / item.path / MANIFEST
    if (len(data), sha256(data).hexdigest()) != (item.size, item.sha256):
        raise ArtifactError(f"{where}: not the manifest that {RELEASE} names; it is of another release or target")
    if (artifact.name, artifact.version) != (found.name, found.version):
        raise ArtifactError(f"{where}: is of {artifact.name} {artifact.version}, not {found.name} {found.version}")
    if release.entry(artifact, data, item.path) != item:
        raise ArtifactError(f"{where}: disagrees with what {RELEASE} says of {item.target!r}")
