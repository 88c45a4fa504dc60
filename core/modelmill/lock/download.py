"""Files of a source → blobs of the store: streamed, hashed once on the way, resumed after a cut, refused if wrong."""

import hashlib
import http.client
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from modelmill.errors import SourceError, TransientError
from modelmill.lock.patience import TRIES, Pause, wait_of
from modelmill.lock.records import LockedFile
from modelmill.store import Store
from modelmill.store.filesystem import writing
from modelmill.types import Opener, SourceFile
from modelmill_artifacts import canonical

AT_ONCE = 4
"""Files that are fetched at the same time."""
_CHUNK = 1024 * 1024
_POLL = 0.2
_GRACE = 1.0
"""Seconds that the other threads get to end when a file has failed."""

Note = Callable[[int, int], None]
"""Told, now and then, the bytes that came so far and those that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to fetch: `origin` (the URI) and `revision` name it, `promise` says who promised sizes and digests.

    `mend` says what to do where the files are others, if anything can be done.
    """

    origin: str
    revision: str
    files: tuple[SourceFile, ...]
    promise: str = "the source promised"
    mend: str = ""


class _StoppedError(Exception):
    """Another file failed, so this one is left where it is."""


@dataclass(kw_only=True)
class _Transfer:
    """One call of `download` as its threads share it."""

    open: Opener
    order: Order
    store: Store
    pause: Pause | None
    todo: deque[SourceFile]
    stop: threading.Event = field(default_factory=threading.Event)
    came: dict[str, int] = field(default_factory=dict)
    here: dict[str, LockedFile] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)


def download(
    opener: Opener,
    order: Order,
    store: Store,
    note: Note | None = None,
    pause: Pause | None = None,
) -> tuple[LockedFile, ...]:
    """Have these files in the store, those that it lacks fetched; `pause` takes the place of sleeping between tries.

    What came of a file stays in the store's `partial` folder until the file is whole, so that a later call, of
    this process or another, goes on from there; whole files are in the store at once, whatever becomes of the
    others. A file with another size or digest than promised is fetched once more, then refused. SourceError.
    """
    transfer = _Transfer(open=opener, order=order, store=store, pause=pause, todo=deque(order.files))
    total = sum(file.size for file in order.files)
    threads = [threading.Thread(target=_work, args=(transfer,), daemon=True) for _ in order.files[:AT_ONCE]]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not transfer.failures:
            for thread in threads:
                thread.join(_POLL / len(threads))
            if note is not None:
                note(sum(transfer.came.values()), total)
    finally:
        transfer.stop.set()
    if transfer.failures:
        for thread in threads:
            thread.join(_GRACE)
        raise transfer.failures[0]
    if note is not None:
        note(total, total)
    return tuple(transfer.here[file.path] for file in order.files)


def _work(transfer: _Transfer) -> None:
    """One file after the other, until there are no more or one of any thread fails.

    Threads are daemons, which nobody waits for: one may be stuck in a connection that says nothing any more.
    """
    while not transfer.stop.is_set():
        try:
            file = transfer.todo.popleft()
            transfer.here[file.path] = _have(transfer, file)
        except (IndexError, _StoppedError):
            return
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            transfer.failures.append(error)
            return


def _have(transfer: _Transfer, file: SourceFile) -> LockedFile:
    """One file, in the store when this returns. Another process that fetches the same is waited for."""
    order, store = transfer.order, transfer.store
    name = file.sha256 or canonical.sha256([order.origin, order.revision, file.path, file.size])
    with _alone(transfer, name):
        if file.sha256 is not None and store.has_blob(file.sha256, file.size):
            transfer.came[file.path] = file.size
            return LockedFile(path=file.path, size=file.size, sha256=file.sha256)
        part = store.partial(name)
        _check_space(order, file, part)
        digest = _fetch(transfer, file, part)
        store.adopt(part, digest, file.size)
    return LockedFile(path=file.path, size=file.size, sha256=digest)


@contextmanager
def _alone(transfer: _Transfer, name: str) -> Iterator[None]:
    lock = transfer.store.lock(f"fetch-{name}")
    while not lock.acquire():
        if transfer.stop.wait(_POLL):
            raise _StoppedError
    try:
        yield
    finally:
        lock.release(remove=True)


def _check_space(order: Order, file: SourceFile, part: Path) -> None:
    missing = file.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise SourceError(
            f"{order.origin}: {file.path} needs {missing:,} bytes more, and the store's disk has {free:,} free; "
            "make room, such as by `modelmill cache gc`, or name another place with --store"
        )


def _fetch(transfer: _Transfer, file: SourceFile, part: Path) -> str:
    """Write the whole file and return its digest."""
    digest, size = "", 0
    for _ in range(2):
        with part.open("a+b", buffering=0) as target:
            digest, size = _receive(transfer, file, target)
            with writing(part):
                os.fsync(target.fileno())
        if size == file.size and (file.sha256 or digest) == digest:
            return digest
        part.unlink()
    raise SourceError(
        f"{transfer.order.origin}: {file.path} has the sha256 {digest} and {size:,} bytes, twice in a row, and "
        f"{transfer.order.promise} {file.sha256 or 'any sha256'} and {file.size:,} bytes; nothing of it is used"
        + (f"; {transfer.order.mend}" if transfer.order.mend else "")
    )


def _receive(transfer: _Transfer, file: SourceFile, target: BinaryIO) -> tuple[str, int]:
    """Append what is missing, as often as the connection is cut; give up when several tries bring nothing.

    Returns digest and size; at most one chunk more than the file should have is taken, whatever is sent.
    """
    hasher, done = _so_far(target, file.size)
    failures = 0
    while done < file.size:
        if transfer.stop.is_set():
            raise _StoppedError
        before, after = done, None
        try:
            with closing(transfer.open(file, done)) as stream:
                if stream.start != done:
                    hasher, done = hashlib.sha256(), 0
                    target.truncate(0)
                while done <= file.size and (chunk := stream.read(_CHUNK)):
                    _write(transfer.store, target, chunk)
                    hasher.update(chunk)
                    done += len(chunk)
                    transfer.came[file.path] = done
                    if transfer.stop.is_set():
                        raise _StoppedError
            reason = "the connection ended before the file did"
        except TransientError as error:
            reason, after = str(error), error.after
        except (http.client.HTTPException, OSError) as error:
            reason = str(error) or type(error).__name__
        if done < file.size:
            failures = 0 if done > before else failures + 1
            if failures == TRIES:
                raise SourceError(f"{transfer.order.origin}: {file.path} cannot be fetched, gave up: {reason}")
            (transfer.pause or transfer.stop.wait)(wait_of(failures, after))
    transfer.came[file.path] = done
    return hasher.hexdigest(), done


def _so_far(target: BinaryIO, size: int) -> "tuple[hashlib._Hash, int]":
    """The digest of what an earlier try left, and its size; more than the file can have is thrown away."""
    hasher, done = hashlib.sha256(), 0
    if os.fstat(target.fileno()).st_size > size:
        target.truncate(0)
    target.seek(0)
    while chunk := target.read(_CHUNK):
        hasher.update(chunk)
        done += len(chunk)
    return hasher, done


def _write(store: Store, target: BinaryIO, chunk: bytes) -> None:
    """A full disk is no cut connection, and another try would not help."""
    view = memoryview(chunk)
    with writing(store.root):
        while view:
            view = view[target.write(view) :]
