"""The few file operations that the store's promises rest on: durable, atomic, copy-free where the system can."""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from modelmill.errors import StoreError

_FICLONE = 0x40049409  # Linux ioctl: share the extents of another file (btrfs, xfs, bcachefs)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk, or a user's share of it, has no room left."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says against writing there (a full disk, a read-only one) becomes a StoreError."""
    try:
        yield
    except OSError as error:
        full = error.errno in FULL
        advice = "make room, such as by `modelmill cache gc`" if full else "make it writable, or name another place"
        raise StoreError(f"{path}: cannot be written ({error.strerror}); {advice}") from error


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one. StoreError where it cannot.

    What a crash leaves besides is found by `left_behind`; the temporary is locked until it is in its place, so that
    `remove_unlocked` knows it from one of a process that lives.
    """
    with writing(path):
        while not _written(path, data, durable=durable):
            pass  # somebody took the temporary for one left behind, before it was locked
        if durable:
            sync_folder(path.parent)


def _written(path: Path, data: bytes, *, durable: bool) -> bool:
    """Write a file through a new temporary; False where that was removed under our hands."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not temporary.exists():
                return False
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # on a read-only disk it is not there, and cannot be looked for
            temporary.unlink(missing_ok=True)
        raise
    return True


def left_behind(folder: Path) -> Iterator[Path]:
    """What `write_atomic` leaves in a folder when it is killed, and what it has under way there."""
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            yield path


def remove_unlocked(path: Path) -> None:
    """Remove a temporary file or folder, unless a process that lives holds its lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reflink_or_copy(source: Path, target: Path) -> None:
    """Give `target` the bytes of `source` as a file of its own: by reflink where the file system can, else by copy."""
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            _copy(reader.fileno(), writer.fileno(), os.fstat(reader.fileno()).st_size)


def _copy(reader: int, writer: int, size: int) -> None:
    """Copy in the kernel where it can."""
    done = 0
    if hasattr(os, "copy_file_range"):
        with contextlib.suppress(OSError):
            while done < size and (count := os.copy_file_range(reader, writer, size - done, done, done)):
                done += count
    if done < size:
        os.lseek(reader, done, os.SEEK_SET)
        os.lseek(writer, done, os.SEEK_SET)
        with os.fdopen(os.dup(reader), "rb") as source, os.fdopen(os.dup(writer), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def link_or_symlink(source: Path, target: Path) -> None:
    """Show `source` under another name: as a hard link, or as a symbolic link across file systems.

    Hard links first: ONNX Runtime refuses external data that a symbolic link leads out of the model's folder.
    """
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        target.symlink_to(source)


def exchange(new: Path, old: Path) -> None:
    """Put `new` in the place of `old` (a folder that may exist), and remove the old one, unless another process does.

    Atomic where the kernel can exchange two names (Linux); elsewhere there is an instant in which `old` is
    missing, never one in which it is mixed.
    """
    if not old.exists():
        new.rename(old)
    elif _rename_exchange(new, old):
        shutil.rmtree(new, ignore_errors=True)
    else:
        aside = old.with_name(f".{old.name}.{uuid.uuid4().hex}")
        old.rename(aside)
        new.rename(old)
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(old.parent)


def _rename_exchange(first: Path, second: Path) -> bool:
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(
        rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE)) == 0
    )
