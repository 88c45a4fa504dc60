"""Digests of files, read once and in pieces."""

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """The hexadecimal sha256 of a file's content."""
    with path.open("rb", buffering=0) as file:
        return sha256_descriptor(file.fileno())


def sha256_descriptor(descriptor: int) -> str:
    """The hexadecimal sha256 of what is left to read from a descriptor."""
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK)
    while count := os.readv(descriptor, [buffer]):
        digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()
