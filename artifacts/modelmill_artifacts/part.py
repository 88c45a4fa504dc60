"""`pulled.json`: which artifacts of a release a pulled folder holds, so that it can be verified as that part."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from modelmill_artifacts import canonical, manifest, record
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.record import Sha256, Text
from modelmill_artifacts.release import RELEASE

SCHEMA_VERSION = 1
PART = "pulled.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was left out of a release on purpose: `release` is the sha256 of its index, `targets` are those taken.

    Nobody signs it. It cannot vouch for anything: what it names is verified as ever, and what it leaves out is told.
    """

    schema_version: int = SCHEMA_VERSION
    release: Sha256
    targets: tuple[Text, ...]


def write(folder: Path, targets: Iterable[str]) -> None:
    """Say in a release's folder that it holds these artifacts of its index and no other."""
    index = sha256(manifest.contents(folder / RELEASE)).hexdigest()
    found = Part(release=index, targets=tuple(sorted(targets)))
    (folder / PART).write_bytes(canonical.pretty(record.write(found)))


def read(folder: Path, index: bytes, known: Collection[str]) -> Part | None:
    """What a folder says of itself; None where it says nothing, and so should hold the whole release.

    `index` is the bytes of its `release.json`, `known` the targets there. Raises ArtifactError for what `write`
    cannot have written over this index.
    """
    path = folder / PART
    if not path.exists() and not path.is_symlink():
        return None
    found = record.read(Part, manifest.versioned(manifest.contents(path), str(path), SCHEMA_VERSION), str(path))
    if found.release != sha256(index).hexdigest():
        raise ArtifactError(f"{path}: is of another {RELEASE} than the one beside it; pull the release again")
    if not found.targets or list(found.targets) != sorted(set(found.targets)) or not set(found.targets) <= set(known):
        raise ArtifactError(f"{path}: its targets are not some of those that {RELEASE} lists; pull the release again")
    return found
