"""A folder of files as a value: path, mode, size and digest of each."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmill.errors import ConvertError
from modelmill_artifacts.hashing import sha256_descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class OutFile:
    """One file: its POSIX path in the folder, its permissions, its size in bytes, its sha256."""

    path: str
    mode: int
    size: int
    sha256: str


def tree(out: Path, known: Mapping[str, str], *, sync: bool = True) -> tuple[OutFile, ...]:
    """The files below a folder, by path, hashed where no digest is known yet, and brought to disk if asked.

    Raises ConvertError for anything that is not a regular file or folder.
    """
    found = []
    for path in _walk(out):
        name = path.relative_to(out).as_posix()
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ConvertError(f"{name}: the step left something that is not a regular file")
        with path.open("rb") as file:
            sha256 = known.get(name) or sha256_descriptor(file.fileno())
            if sync:
                os.fsync(file.fileno())
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        found.append(OutFile(path=name, mode=mode, size=status.st_size, sha256=sha256))
    return tuple(sorted(found, key=lambda item: item.path))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path
