"""What build.lock holds of one source."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from modelmill_artifacts import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """A file of a source: path in the checkpoint, size in bytes, sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSource:
    """A source as it was resolved. `requested` is the revision that build.toml asked for, `include` the files."""

    name: str
    uri: str
    requested: str | None
    revision: str
    format: str
    architecture: str | None
    scheme: str | None
    parameters: int
    licence: str | None
    files: tuple[LockedFile, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def digest(self) -> str:
        """One digest over all files by path: what a source is, wherever it came from."""
        return digest(self.files)


def digest(files: Iterable[LockedFile]) -> str:
    """One digest over files by path."""
    return canonical.sha256({file.path: file.sha256 for file in files})


def matching(files: Iterable[LockedFile], patterns: tuple[str, ...]) -> tuple[LockedFile, ...]:
    """The files that any of the patterns matches; `**` matches every file."""
    return tuple(
        file
        for file in files
        if any(pattern == "**" or fnmatch.fnmatchcase(file.path, pattern) for pattern in patterns)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What a source is now, where that is other than its lock entry says."""

    revision: tuple[str, str] | None
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.revision is not None or bool(self.changed or self.added or self.removed)


def drift(known: LockedSource, revision: str, files: Iterable[LockedFile]) -> Drift:
    """How a source that resolves to these files now differs from what is locked."""
    before = {file.path: file for file in known.files}
    now = {file.path: file for file in files}
    return Drift(
        revision=(known.revision, revision) if known.revision != revision else None,
        changed=tuple(sorted(path for path in before.keys() & now.keys() if before[path] != now[path])),
        added=tuple(sorted(now.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - now.keys())),
    )
