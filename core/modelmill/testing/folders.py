"""Folders as values: what is in them, and what is in a damaged copy."""

import fnmatch
import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


def contents(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """Mode, size, time of change and sha256 of everything below a folder, by its path in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[path.relative_to(folder).as_posix()] = (status.st_mode, status.st_size, status.st_mtime_ns, digest)
    return found


def copy_matching(folder: Path, out: Path, patterns: Iterable[str]) -> None:
    """Copy the files that match one of the patterns, which are all that a step gets to see."""
    wanted = tuple(patterns)
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and any(pattern == "**" or fnmatch.fnmatchcase(name, pattern) for pattern in wanted):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, out / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A copy of a folder in which one file is not what it was."""

    file: str
    what: str
    folder: Path


def damaged(folder: Path, scratch: Path) -> Iterator[Damage]:
    """Copies of a folder, each with one file missing, empty, cut in half, or overwritten at its start."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        broken = {
            "missing": None,
            "empty": b"",
            "cut in half": content[: len(content) // 2],
            "overwritten at its start": b"\xff\x00\xfe\x7f" * 4 + content[16:],
        }
        for index, (what, data) in enumerate(broken.items()):
            copy = scratch / f"{hashlib.sha256(name.encode()).hexdigest()}-{index}"
            shutil.copytree(folder, copy)
            if data is None:
                (copy / name).unlink()
            else:
                (copy / name).write_bytes(data)
            yield Damage(file=name, what=what, folder=copy)
