"""How one blob gets out of a repository: streamed, resumed, and compared with its digest before it has a name."""

import hashlib
import http.client
import os
import re
import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

from modelmill import RemoteError
from modelmill_oci.registry import Registry
from modelmill_oci.retry import TransientError, retrying
from modelmill_oci.transport import Request

_BLOCK = 1024 * 1024
_BUFFERS = 4


class _CorruptError(TransientError):
    """What arrived is not what the digest names: worth one more try, for a wire can be at fault too."""


def download(registry: Registry, digest: str, size: int, path: Path) -> int:
    """Write a blob to `path` and return how many bytes moved (0: it was there whole).

    `path` appears only when size and sha256 are right; until then the bytes are in `path`.part, where the next
    call goes on. Raises RemoteError.
    """
    if path.is_file() and path.stat().st_size == size and _sha256(path) == digest:
        return 0
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    moved, corrupt = [0], [0]

    def act() -> None:
        try:
            moved[0] += _attempt(registry, digest, size, part)
        except _CorruptError as error:
            part.unlink(missing_ok=True)
            corrupt[0] += 1
            if corrupt[0] > 1:
                raise RemoteError(str(error)) from error
            raise

    retrying(registry.access, act, progress=lambda: _size(part))
    part.replace(path)
    return moved[0]


def _attempt(registry: Registry, digest: str, size: int, part: Path) -> int:
    start = _size(part)
    if start > size:
        part.unlink()
        start = 0
    hasher = hashlib.sha256()
    if start:
        _feed(hasher, part)
    _check_space(part, size - start)
    moved = 0
    if start < size or not part.exists():
        headers = {"Range": f"bytes={start}-"} if start else {}
        target = f"{registry.path}/blobs/{digest}"
        request = Request(method="GET", target=target, scope=registry.pull_scope, headers=headers)
        with registry.transport.exchange(request) as response:
            if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _CorruptError(f"{registry.reference.name} has less of {digest} than its size says")
            if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                raise registry.failure(response)
            if response.status == HTTPStatus.PARTIAL_CONTENT:
                _check_range(registry, response.headers.get("Content-Range", ""), start)
            elif start:
                start, hasher = 0, hashlib.sha256()
            moved = _receive(response, part, start, size, hasher)
    found = _size(part)
    if found < size:
        raise TransientError(f"{registry.reference.name}: {digest} broke off after {found} of {size} bytes")
    if found > size or "sha256:" + hasher.hexdigest() != digest:
        raise _CorruptError(
            f"{registry.reference.name} serves something other than {digest} under that digest; refused"
        )
    return moved


def _receive(response: http.client.HTTPResponse, part: Path, start: int, size: int, hasher: "hashlib._Hash") -> int:
    """Append what comes, never more than `size` in all (a registry cannot fill the disk); the bytes written.

    One thread receives, another hashes and a third writes: all three leave the interpreter's lock alone.
    """
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        raise _disk(part, error) from error
    moved, free = 0, deque(memoryview(bytearray(_BLOCK)) for _ in range(_BUFFERS))
    pending: deque[tuple[Future[None], Future[None], memoryview]] = deque()

    def keep(block: memoryview) -> None:
        try:
            while block:
                block = block[file.write(block) :]
        except OSError as error:
            raise _disk(part, error) from error

    with (
        open(descriptor, "wb", buffering=0) as file,  # noqa: PTH123
        ThreadPoolExecutor(1) as writer,
        ThreadPoolExecutor(1) as reader,
    ):
        file.truncate(start)
        file.seek(start)
        while start + moved <= size:
            if not free:
                written, hashed, buffer = pending.popleft()
                written.result()
                hashed.result()
                free.append(buffer)
            buffer = free.popleft()
            count = min(response.readinto(buffer), size + 1 - start - moved)
            if not count:
                break
            block = buffer[:count]
            pending.append((writer.submit(keep, block), reader.submit(hasher.update, block), buffer))
            moved += count
        for written, hashed, _ in pending:
            written.result()
            hashed.result()
    return moved


def _check_range(registry: Registry, value: str, start: int) -> None:
    found = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", value)
    if found is None or int(found[1]) != start:
        raise _CorruptError(f"{registry.reference.name} answers a range from {start} with {value!r}; refused")


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise RemoteError(f"{part.parent} has {free} bytes free and {needed} are needed; make room and pull again")


def _disk(part: Path, error: OSError) -> RemoteError:
    return RemoteError(
        f"{part.parent} cannot be written ({error.strerror}); make room and pull again, it goes on there"
    )


def _feed(hasher: "hashlib._Hash", path: Path) -> None:
    buffer = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    _feed(hasher, path)
    return "sha256:" + hasher.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
