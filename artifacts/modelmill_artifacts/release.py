"""`release.json`: the index over the artifacts of one version, by which a deployment system finds its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from modelmill_artifacts import canonical, manifest, paths, record
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.evidence import release_purl
from modelmill_artifacts.manifest import MANIFEST, HardwareProfile, Manifest, contents, versioned
from modelmill_artifacts.oms import STATEMENT
from modelmill_artifacts.record import Sha256, Size, Text

SCHEMA_VERSION = 1
RELEASE = "release.json"
RELEASE_SIGNATURE = "release.json.sig"
PREDICATE = "https://in-toto.io/attestation/release/v0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One artifact of a release: its folder, relative to the index, and what choosing it needs to know.

    `sha256` and `size` are those of its `artifact.json`; `bytes` is what all files that it lists take.
    """

    target: Text
    path: Text
    sha256: Sha256
    size: Size
    format: Text
    scheme: Text | None
    hardware: HardwareProfile | None
    bytes: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The index of a release: the name and version that all its artifacts share, and the artifacts."""

    schema_version: int = SCHEMA_VERSION
    name: Text
    version: Text
    artifacts: tuple[Entry, ...]


def entry(found: Manifest, data: bytes, path: str | None = None) -> Entry:
    """The index entry of an artifact, given its manifest and that manifest's bytes.

    `path` is the artifact's folder relative to the index; the target's name where it is None.
    """
    return Entry(
        target=found.target,
        path=path or found.target,
        sha256=sha256(data).hexdigest(),
        size=len(data),
        format=found.format,
        scheme=found.scheme,
        hardware=found.hardware,
        bytes=sum(file.size for file in found.files),
    )


def index(folder: Path, targets: Iterable[str]) -> Release:
    """The index over the artifacts that lie in a release's folder, one folder for each target.

    Raises ArtifactError for an artifact that is not finished and for two that differ in name or version.
    """
    entries, identities = [], set()
    for target in sorted(targets):
        data = contents(folder / target / MANIFEST)
        found = manifest.load(data, str(folder / target / MANIFEST))
        entries.append(entry(found, data, target))
        identities.add((found.name, found.version))
    if len(identities) != 1:
        named = ", ".join(f"{name} {version}" for name, version in sorted(identities)) or "none"
        raise ArtifactError(f"{folder}: a release has one name and one version; its artifacts have: {named}")
    ((name, version),) = identities
    return Release(name=name, version=version, artifacts=tuple(entries))


def dump(release: Release) -> bytes:
    """The one byte form of an index. Raises ArtifactError for one that `load` would refuse."""
    data = canonical.pretty(record.write(release))
    load(data)
    return data


def load(data: bytes, where: str = RELEASE) -> Release:
    """An index from its bytes. Raises ArtifactError for anything that `dump` cannot have written."""
    release = record.read(Release, versioned(data, where, SCHEMA_VERSION), where)
    if not release.artifacts:
        raise ArtifactError(f"{where}: lists no artifact")
    targets = [item.target for item in release.artifacts]
    if targets != sorted(set(targets)):
        raise ArtifactError(f"{where}: artifacts are not in the order of their targets, each listed once")
    paths.check_all([item.path for item in release.artifacts] + [RELEASE, RELEASE_SIGNATURE], where)
    return release


def read(folder: Path) -> Release:
    """The index of the release in this folder. Raises ArtifactError if there is none that is sound."""
    return load(contents(folder / RELEASE), str(folder / RELEASE))


def payload(release: Release, data: bytes) -> bytes:
    """The bytes of the in-toto statement over an index, given the bytes of the index: which release it is.

    The predicate is in-toto's `release` (in-toto/attestation, spec/predicates/release.md).
    """
    return canonical.dumps(
        {
            "_type": STATEMENT,
            "subject": [{"name": RELEASE, "digest": {"sha256": sha256(data).hexdigest()}}],
            "predicateType": PREDICATE,
            "predicate": {"purl": release_purl(release.name, release.version)},
        }
    )
