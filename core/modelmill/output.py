"""Files that are hashed while they are written, so that nobody reads them a second time."""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelmill.follower import LEAD, Follower
from modelmill.types import Job

_AT_ONCE = LEAD // 4


class OutputFile:
    """A new file under a job's `out`, written from front to back once.

    On a clean close its digest is left where the step's runner finds it. Using it is optional: a file that
    was written in any other way is hashed after the step.
    """

    def __init__(self, job: Job[Any], path: str) -> None:
        self._path = path
        self._file_path = job.out / path
        self._notes = job.limits.scratch / "digests"
        self._file_path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._file_path.open("xb", buffering=0)
        self._follower = Follower(self._file_path)
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append contiguous bytes and return their number."""
        view = memoryview(data).cast("B")
        total = len(view)
        while view:
            written = self._file.write(view[:_AT_ONCE]) or 0
            self._size += written
            self._follower.written(self._size)
            view = view[written:]
        return total

    def tell(self) -> int:
        """The number of bytes written so far."""
        return self._size

    def close(self) -> None:
        """Finish the file and leave its digest for the runner."""
        if self._file.closed:
            return
        try:
            sha256 = self._follower.result()
            status = os.fstat(self._file.fileno())
        finally:
            self._file.close()
        note = {
            "path": self._path,
            "size": self._size,
            "mtime_ns": status.st_mtime_ns,
            "inode": status.st_ino,
            "sha256": sha256,
        }
        self._notes.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(self._path.encode()).hexdigest()
        (self._notes / f"{name}.json").write_text(json.dumps(note))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._follower.abandon()
            self._file.close()


def create(job: Job[Any], path: str) -> OutputFile:
    """Create `path` (relative, POSIX) under `job.out` for writing from front to back."""
    return OutputFile(job, path)


def digests(scratch: Path, out: Path) -> dict[str, str]:
    """The sha256 of every file of `out` that was written through `create` and not touched since."""
    found: dict[str, str] = {}
    for note_path in (scratch / "digests").glob("*.json"):
        note = json.loads(note_path.read_text())
        try:
            status = (out / note["path"]).stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if (status.st_size, status.st_mtime_ns, status.st_ino) == (
            note["size"],
            note["mtime_ns"],
            note["inode"],
        ):
            found[note["path"]] = note["sha256"]
    return found
