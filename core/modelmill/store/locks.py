"""Locks between processes that vanish with their holder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelmill.errors import StoreError
from modelmill.store.filesystem import writing

_POLL = 0.1


class Lock:
    """An exclusive advisory lock on a file (flock), shared with every child that inherits its descriptor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The descriptor to hand to a child that shall hold the lock too."""
        if self._descriptor is None:
            raise ValueError(f"{self._path} is not locked")
        return self._descriptor

    def acquire(self) -> bool:
        """Take the lock if nobody holds it; say whether it is ours now.

        The file may be removed by its last holder between our open and our lock: then the lock is on a file
        without a name, and we try again on the new one.
        """
        while True:
            descriptor = _open(self._path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            try:
                if self._path.stat().st_ino == os.fstat(descriptor).st_ino:
                    self._descriptor = descriptor
                    return True
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back, and remove its file first if asked."""
        if self._descriptor is not None:
            if remove:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


class Guard:
    """A lock that many processes share, or that one has alone; its file is never removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shared: int | None = None

    def share(self) -> None:
        """Share the lock until this process ends; waits while somebody has it alone."""
        if self._shared is None:
            self._shared = _open(self._path)
            fcntl.flock(self._shared, fcntl.LOCK_SH)

    @contextmanager
    def alone(self, patience: float) -> Iterator[None]:
        """Have the lock alone. StoreError where others still share it after so many seconds."""
        descriptor = _open(self._path)
        try:
            deadline = time.monotonic() + patience
            while not _exclusive(descriptor):
                if time.monotonic() >= deadline:
                    raise StoreError(
                        f"{self._path.parent}: a build is using the store, so nothing was removed; "
                        "run this again when it has ended, or say how long to wait with --wait"
                    )
                time.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock for a few operations; waits for whoever has it. Its file is never removed."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    with writing(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
