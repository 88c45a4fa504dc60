"""The folder that holds blobs by digest and results of steps by key."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.decode import DecodeError, decode, encode
from modelmill.errors import StoreError
from modelmill.store.filesystem import link_or_symlink, sync_folder, write_atomic, writing
from modelmill.store.index import StatIndex
from modelmill.store.locks import Guard, Lock, held
from modelmill.tree import OutFile
from modelmill_artifacts.hashing import sha256_descriptor, sha256_file

_BLOB_TIME_NS = 946_684_800_000_000_000
"""Every blob's mtime (2000-01-01): whoever writes to one by accident moves it, and stat alone shows it."""

_FOLDERS = ("blobs/sha256", "steps", "facts", "tmp", "locks", "logs", "partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a step made: its files, and the components of its key, kept so that a later build can be explained."""

    key: str
    files: tuple[OutFile, ...]
    components: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A blob as it was when it was read: its stat, and whether its bytes were what its name says."""

    status: os.stat_result
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A temporary folder of one running step, locked as long as anybody works in it."""

    folder: Path
    lock: Lock

    @property
    def out(self) -> Path:
        """Where the step's result is made."""
        return self.folder / "out"

    @property
    def scratch(self) -> Path:
        """Where the step may write what it likes."""
        return self.folder / "scratch"

    def remove(self) -> None:
        """Throw the folder away and give the lock back."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.release(remove=True)


class Store:
    """Blobs lie as OCI lays them; a step's record is written last, by rename, after its blobs are on disk."""

    def __init__(self, root: Path, warn: Callable[[str], None] = lambda message: None) -> None:  # noqa: ARG005
        self.root = root.absolute()
        self.warn = warn
        try:
            for folder in _FOLDERS:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.root}: the store cannot be made there ({error.strerror}); name another with --store"
            ) from error
        self.index = StatIndex(self.root / "index.json")
        self._guard = Guard(self.root / "gc.lock")
        self._blobs = self.root / "blobs.lock"

    def share(self) -> None:
        """From now on, until this process ends, nothing is collected from the store under us."""
        self._guard.share()

    def alone(self, patience: float) -> AbstractContextManager[None]:
        """Have the store to oneself, to collect from it: waits so many seconds for builds, then StoreError."""
        return self._guard.alone(patience)

    def blob(self, sha256: str) -> Path:
        """Where a blob lies, or would lie."""
        return self.root / "blobs" / "sha256" / sha256

    def has_blob(self, sha256: str, size: int) -> bool:
        """Whether a blob is there and its stat is as we left it. A changed one is removed, with a warning."""
        path = self.blob(sha256)
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        if status.st_size == size and status.st_mtime_ns == _BLOB_TIME_NS:
            return True
        self.warn(f"{path}: changed since it was stored, so it is thrown away and made again")
        self.discard(sha256, status)
        return False

    def discard(self, sha256: str, seen: os.stat_result) -> bool:
        """Remove a blob that was found damaged, and say so; not one that took its place since."""
        path = self.blob(sha256)
        with held(self._blobs):
            try:
                now = path.stat()
            except FileNotFoundError:
                return False
            if (now.st_ino, now.st_ctime_ns) != (seen.st_ino, seen.st_ctime_ns):
                return False
            path.unlink()
            return True

    def adopt(self, path: Path, sha256: str, size: int) -> None:
        """Move a finished file, already brought to disk, into the store under its digest."""
        with writing(self.blob(sha256)):
            if self.has_blob(sha256, size):
                path.unlink()
                return
            path.chmod(0o444)
            os.utime(path, ns=(_BLOB_TIME_NS, _BLOB_TIME_NS))
            with held(self._blobs):
                path.replace(self.blob(sha256))

    def take_copy(self, path: Path, sha256: str, size: int) -> None:
        """Have a small file's bytes in the store too. StoreError if they are not what the digest says."""
        if self.has_blob(sha256, size):
            return
        workspace = self.workspace("copy")
        try:
            copy = workspace.out / "copy"
            with writing(copy):
                copy.write_bytes(path.read_bytes())
            if sha256_file(copy) != sha256:
                raise StoreError(f"{path}: changed while it was read")
            self.adopt(copy, sha256, size)
        finally:
            workspace.remove()

    def result(self, key: str) -> Result | None:
        """What the step of this key made, if it is here and whole; a damaged record is a miss with a warning."""
        path = self.root / "steps" / f"{key}.json"
        try:
            data = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self.warn(f"{path}: not readable, so the step is run again")
            return None
        try:
            result = decode(Result, data)
        except DecodeError:
            self.warn(f"{path}: not a step's record, so the step is run again")
            return None
        if result.key != key or not all(self.has_blob(file.sha256, file.size) for file in result.files):
            return None
        return result

    def add(self, key: str, out: Path, files: Iterable[OutFile], components: Mapping[str, Any]) -> Result:
        """Take a step's files, already brought to disk, and then write its record."""
        result = Result(key=key, files=tuple(files), components=components)
        for file in result.files:
            self.adopt(out / file.path, file.sha256, file.size)
        sync_folder(self.root / "blobs" / "sha256")
        data = json.dumps(encode(result), sort_keys=True).encode()
        write_atomic(self.root / "steps" / f"{key}.json", data)
        return result

    def facts(self, digest: str) -> dict[str, Any] | None:
        """Facts that were kept under a digest of what they were read from."""
        try:
            found: dict[str, Any] = json.loads((self.root / "facts" / f"{digest}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def keep_facts(self, digest: str, facts: Mapping[str, Any]) -> None:
        """Keep facts, which can be read again: a cache."""
        with contextlib.suppress(StoreError):  # on a full or read-only disk: they are read again
            write_atomic(self.root / "facts" / f"{digest}.json", json.dumps(facts).encode(), durable=False)

    def partial(self, name: str) -> Path:
        """Where a file lies that is not fetched to its end yet; `gc` throws it away."""
        return self.root / "partial" / name

    def lock(self, key: str) -> Lock:
        """The lock that the builder of a key holds."""
        return Lock(self.root / "locks" / key)

    def log(self, key: str) -> Path:
        """Where the output of the step of this key goes."""
        return self.root / "logs" / f"{key}.log"

    def workspace(self, name: str) -> Workspace:
        """A fresh, locked temporary folder."""
        folder = self.root / "tmp" / f"{name[:16]}-{uuid.uuid4().hex}"
        lock = Lock(folder.with_name(f"{folder.name}.lock"))
        if not lock.acquire():
            raise StoreError(f"{folder}: the lock of a new folder is taken")
        workspace = Workspace(folder=folder, lock=lock)
        try:
            with writing(folder):
                workspace.out.mkdir(parents=True)
                workspace.scratch.mkdir()
        except StoreError:
            workspace.remove()
            raise
        return workspace

    def sweep(self) -> int:
        """Remove the temporary folders that nobody works in any more; return how many there were."""
        count = 0
        for path in sorted((self.root / "tmp").glob("*.lock")):
            lock = Lock(path)
            if not lock.acquire():
                continue
            folder = path.with_suffix("")
            if folder.exists():
                count += 1
                shutil.rmtree(folder, ignore_errors=True)
            lock.release(remove=True)
        return count

    def show(self, files: Iterable[OutFile], folder: Path) -> None:
        """Lay blobs out as a folder for a step to read."""
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_symlink(self.blob(file.sha256), target)

    def verify(self, sha256: str) -> bool:
        """Read a blob again and say whether it is what its name says."""
        found = self.examine(sha256)
        return found is not None and found.good

    def examine(self, sha256: str) -> Examined | None:
        """Read a blob again; None where there is none."""
        with contextlib.suppress(FileNotFoundError), self.blob(sha256).open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            return Examined(status=status, good=sha256_descriptor(file.fileno()) == sha256)
        return None
