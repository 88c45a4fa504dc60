"""Safetensors files of which only the header is here: enough for facts, before gigabytes are fetched."""

from contextlib import closing
from pathlib import Path

from modelmill.checkpoint.safetensors import HEADER_LIMIT
from modelmill.lock.patience import patiently
from modelmill.types import Opener, SourceFile, Stream

_PREFIX = 8


def can_peek(path: str) -> bool:
    """Whether a file's header says all that facts need of it."""
    return path.endswith(".safetensors")


def peek(opener: Opener, origin: str, file: SourceFile, target: Path) -> None:
    """Write a file of the right size that has the header and zeros after it, taking no room on disk. SourceError."""

    def head() -> bytes:
        with closing(opener(file, 0)) as stream:
            return _head(stream, file.size)

    found = patiently(head, f"{origin}: {file.path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as written:
        written.write(found)
        written.truncate(file.size)


def _head(stream: Stream, size: int) -> bytes:
    """The eight bytes that say how long the header is, and the header; a length that cannot be is left to the reader.

    Format: safetensors, `safetensors/src/tensor.rs`.
    """
    prefix = _read(stream, min(_PREFIX, size))
    length = int.from_bytes(prefix, "little")
    if length > min(HEADER_LIMIT, size - len(prefix)):
        return prefix
    return prefix + _read(stream, length)


def _read(stream: Stream, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        chunk = stream.read(count - len(found))
        if not chunk:
            raise OSError("the connection ended before the header did")
        found += chunk
    return bytes(found)
