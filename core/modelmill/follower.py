"""The digest of a file that is being written, computed right behind the writer.

A thread reads what was written back from the page cache, hashes it, and asks the kernel to start bringing it to
disk. Reading back costs a copy; handing the writer's own buffers over was rejected, since their owner may use
them again, or unmap them, as soon as a write returns.
"""

import hashlib
import os
import threading
from pathlib import Path

_PIECE = 1 << 20
LEAD = 64 * _PIECE
"""Bytes that the writer may be ahead: they are still in the page cache when they are read back."""
_WRITEBACK = 16 * _PIECE


class Follower:
    """A sha256 that follows the writer of the file at `path`, until `result` or `abandon`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._written = 0
        self._hashed = 0
        self._ended = False
        self._failure: OSError | MemoryError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._thread.start()

    def written(self, total: int) -> None:
        """The file has so many bytes now. Waits while that is more than `LEAD` beyond what is hashed."""
        self._written = total
        if total - self._hashed < _PIECE:
            return  # nobody waits for less
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._failure or self._written - self._hashed <= LEAD)

    def result(self) -> str:
        """The digest of all that was written, in hex. OSError where it could not be read back."""
        self._end(self._written)
        if self._failure:
            raise self._failure
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Stop without a digest."""
        self._end(0)

    def _end(self, total: int) -> None:
        with self._changed:
            self._written, self._ended = total, True
            self._changed.notify_all()
        self._thread.join()
        self._file.close()

    def _follow(self) -> None:
        buffer = bytearray(_PIECE)
        started = 0
        try:
            while size := self._next():
                self._read(memoryview(buffer)[:size])
                if self._hashed - started >= _WRITEBACK:
                    _start_writing_back(self._file.fileno(), started, self._hashed - started)
                    started = self._hashed
        except (OSError, MemoryError) as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _next(self) -> int:
        """Wait for bytes, and return how many to read at once; 0 at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._written - self._hashed >= _PIECE)
            return max(0, min(_PIECE, self._written - self._hashed))

    def _read(self, room: memoryview) -> None:
        got = 0
        while got < len(room):
            more = self._file.readinto(room[got:])
            if not more:
                raise OSError("the file became shorter while it was written")
            got += more
        self._hash.update(room)
        with self._changed:
            self._hashed += got
            self._changed.notify_all()


def _start_writing_back(descriptor: int, start: int, size: int) -> None:
    """Have the kernel begin to write these bytes to disk, so that the fsync at the end finds little left to do.

    Linux does so when it is told that they are not needed soon. Bytes that are not on disk yet stay in the page
    cache, so the next step still finds most of the file there.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_DONTNEED)
