"""Which digest a file had when it was last read, and whether its stat still vouches for that."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from modelmill.errors import StoreError
from modelmill.store.filesystem import write_atomic
from modelmill_artifacts.hashing import sha256_file

_RACY_NS = 2_000_000_000
"""A file that changed this shortly before it was read may have changed again within one tick of its clock (2 s on
FAT), with the same stat: such an entry is not trusted, as git does not trust its index for such a file."""

Entry = tuple[int, int, int, int, str]


class StatIndex:
    """Digests by path, trusted while size, mtime, ctime and inode are what they were. A cache: losing it costs time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        self._entries: dict[str, Entry] = {}
        try:
            data = json.loads(path.read_bytes())
            self._entries = {key: tuple(value) for key, value in data["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._entries = {}

    def sha256(self, path: Path) -> str:
        """The digest of a file's content, read only if its stat does not vouch for the one that is known."""
        return self.derived(path, "", sha256_file)

    def vouches(self, path: Path) -> bool:
        """Whether the digest of a file's content is known, so that `sha256` need not read it. Raises OSError."""
        entry = self._entries.get(os.fspath(path.absolute()))
        return entry is not None and entry[:4] == _stamp(path.stat())

    def derived(self, path: Path, what: str, read: Callable[[Path], str]) -> str:
        """What `read` makes of a file's content, under a name of its own; read again only as `sha256` does."""
        status = path.stat()
        stamp = _stamp(status)
        key = f"{what}{os.fspath(path.absolute())}"
        entry = self._entries.get(key)
        if entry is not None and entry[:4] == stamp:
            return entry[4]
        started = time.time_ns()
        digest = read(path)
        if max(status.st_mtime_ns, status.st_ctime_ns) < started - _RACY_NS:
            self._entries[key] = (*stamp, digest)
            self._changed = True
        elif entry is not None:
            del self._entries[key]
            self._changed = True
        return digest

    def save(self) -> None:
        """Keep what was learnt, if anything was."""
        if self._changed:
            with contextlib.suppress(StoreError):  # on a full or read-only disk: what is lost can be read again
                write_atomic(self._path, json.dumps({"files": self._entries}).encode(), durable=False)
            self._changed = False


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
