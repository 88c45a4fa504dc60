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
    """A source as it was resolved. `requested` is the revision that build.toml asked for."""

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

    def digest(self) -> str:
        """One digest over all files by path: what a source is, wherever it came from."""
        return canonical.sha256({file.path: file.sha256 for file in self.files})


def matching(files: Iterable[LockedFile], patterns: tuple[str, ...]) -> tuple[LockedFile, ...]:
    """The files that any of the patterns matches; `**` matches every file."""
    return tuple(
        file
        for file in files
        if any(pattern == "**" or fnmatch.fnmatchcase(file.path, pattern) for pattern in patterns)
    )
