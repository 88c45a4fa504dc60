"""Bytes that lie in files and in memory, put together without copying them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelmill import RemoteError

_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """`size` bytes: of a file from `offset` on, or `data` itself where `path` is None."""

    size: int
    path: Path | None = None
    offset: int = 0
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Pieces one after the other; a tar layer is headers from memory between the files themselves."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(piece.size for piece in self.pieces)

    def part(self, start: int, size: int) -> "Content":
        """The bytes from `start` on, `size` of them."""
        found: list[Piece] = []
        for piece in self.pieces:
            begin, end = max(start, 0), min(start + size, piece.size)
            if begin < end:
                data = piece.data[begin:end]
                offset = piece.offset + begin
                found.append(Piece(size=end - begin, path=piece.path, offset=offset, data=data))
            start -= piece.size
        return Content(pieces=tuple(found))

    def blocks(self) -> Iterator[memoryview]:
        """The bytes in blocks, each valid until the next is asked for. Raises RemoteError for a file too short."""
        buffer = memoryview(bytearray(_BLOCK))
        for piece in self.pieces:
            if piece.path is None:
                yield memoryview(piece.data)
                continue
            left = piece.size
            with piece.path.open("rb", buffering=0) as file:
                file.seek(piece.offset)
                while left:
                    count = file.readinto(buffer[: min(left, _BLOCK)])
                    if not count:
                        raise shrunk(piece.path)
                    yield buffer[:count]
                    left -= count


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Content by its digest."""

    digest: str
    content: Content

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.content.size


def of_bytes(data: bytes) -> Blob:
    """A blob in memory."""
    return Blob(digest=sha256(data), content=Content(pieces=(Piece(size=len(data), data=data),)))


def of_file(path: Path, size: int, digest: str) -> Blob:
    """A blob that is a whole file, whose digest is known already and is not computed again."""
    return Blob(digest=digest, content=Content(pieces=(Piece(size=size, path=path),)))


def hashed(content: Content) -> Blob:
    """A blob whose digest is computed here, in one streaming pass."""
    hasher = hashlib.sha256()
    for block in content.blocks():
        hasher.update(block)
    return Blob(digest=f"sha256:{hasher.hexdigest()}", content=content)


def sha256(data: bytes) -> str:
    """The digest of bytes, in the form that OCI gives it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def shrunk(path: Path) -> RemoteError:
    """The sentence for a file that is shorter than its description says."""
    return RemoteError(f"{path} became shorter than it was when it was described; build the release again")
