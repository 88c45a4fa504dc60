"""Digests of files, read once from front to back in constant memory."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

Progress = Callable[[int], None]
"""Called with the number of bytes that were hashed since the last call, from any thread."""

_BLOCK = 1 << 17
"""Bytes read at once: what stays in a core's own cache until it is hashed."""


def sha256_file(path: Path) -> str:
    """The hexadecimal sha256 of a file's content, or of what a link to one leads to."""
    with path.open("rb", buffering=0) as file:
        return sha256_descriptor(file.fileno())


def sha256_descriptor(descriptor: int, progress: Progress | None = None) -> str:
    """The hexadecimal sha256 of what is left to read from a descriptor."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    with io.FileIO(descriptor, closefd=False) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if progress is not None:
                progress(count)
    return digest.hexdigest()
