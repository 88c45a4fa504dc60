"""A target's finished step → its artifact's folder in dist/, whole or not at all."""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modelmill.errors import StoreError
from modelmill.store import Store
from modelmill.store.filesystem import exchange, reflink_or_copy, remove_unlocked, write_atomic
from modelmill.tree import OutFile
from modelmill_artifacts import canonical

_TEMPORARY = ".modelmill-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An artifact's folder, and whether this build had to make it."""

    folder: Path
    made: bool


def place(
    store: Store,
    folder: Path,
    files: Mapping[str, OutFile],
    determinant: Any,
    describe: Callable[[Path], None],
    before: Callable[[], None],
    *,
    link: bool = False,
) -> Placed:
    """Have an artifact's folder hold these files (by their path in it) and what `describe` writes beside them.

    `determinant` is JSON data that everything in the folder follows from: where it and the stat of every file
    are as they were when we made the folder, nothing is done. `before` is called just before a finished folder
    takes its place.
    """
    memory = _memory(store, folder)
    wanted = canonical.sha256(determinant)
    if _unchanged(memory, wanted, folder):
        return Placed(folder=folder, made=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(folder) as temporary:
            for path, file in files.items():
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _take(store.blob(file.sha256), target, file.mode, link=link)
            describe(temporary)
            before()
            exchange(temporary, folder)
        memory.parent.mkdir(exist_ok=True)
        write_atomic(memory, json.dumps({"wanted": wanted, "files": _stats(folder)}).encode(), durable=False)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(f"{folder}: the artifact cannot be written: {error.strerror}{where}") from error
    return Placed(folder=folder, made=True)


def is_placed(store: Store, folder: Path, determinant: Any) -> bool:
    """Whether `place` with this determinant would leave the folder as it is."""
    return _unchanged(_memory(store, folder), canonical.sha256(determinant), folder)


def state(store: Store, folder: Path) -> Literal["whole", "changed", "missing"]:
    """Whether an artifact's folder holds what was put there, as far as the stat of its files tells."""
    if not folder.is_dir():
        return "missing"
    try:
        return "whole" if json.loads(_memory(store, folder).read_bytes())["files"] == _stats(folder) else "changed"
    except (OSError, ValueError, KeyError, TypeError):
        return "changed"


def _memory(store: Store, folder: Path) -> Path:
    """The file that remembers how an artifact's folder was made."""
    return store.root / "dist" / f"{canonical.sha256(os.fsencode(folder.absolute()).hex())}.json"


def _take(blob: Path, target: Path, mode: int, *, link: bool) -> None:
    if link:
        target.hardlink_to(blob)
        return
    reflink_or_copy(blob, target)
    target.chmod(mode)


def _unchanged(memory: Path, wanted: str, folder: Path) -> bool:
    try:
        known = json.loads(memory.read_bytes())
        return bool(known["wanted"] == wanted and known["files"] == _stats(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _stats(folder: Path) -> dict[str, list[int]]:
    """Size, mtime, ctime and inode of every file: ctime cannot be set back by those who edit and touch."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            status = path.lstat()
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            found[path.relative_to(folder).as_posix()] = stamp
    return found


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A locked folder beside `folder`; those that a killed build left there are removed first."""
    for stale in folder.parent.glob(f"{_TEMPORARY}*"):
        remove_unlocked(stale)
    temporary, descriptor = _locked(folder)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


def _locked(folder: Path) -> tuple[Path, int]:
    """A new folder beside `folder`, and the descriptor that holds its lock.

    Another build may take it for a killed one's before it is locked, and remove it: then the lock is on a folder
    without a name, and we try again with a new one.
    """
    while True:
        temporary = folder.with_name(f"{_TEMPORARY}{folder.name}-{uuid.uuid4().hex}")
        temporary.mkdir()
        descriptor = -1
        try:
            descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if temporary.stat().st_ino == os.fstat(descriptor).st_ino:
                return temporary, descriptor
        except FileNotFoundError:
            pass
        if descriptor >= 0:
            os.close(descriptor)
