"""Tar layers that are the same bytes whenever and by whomever they are made."""

import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from modelmill_oci.content import Blob, Content, Piece, hashed

_BLOCK = 512
END = Piece(size=2 * _BLOCK, data=b"\0" * 2 * _BLOCK)
"""What closes an archive."""


def layer(files: Mapping[str, Path], links: Mapping[str, str] | None = None, executable: Iterable[str] = ()) -> Blob:
    """A layer with these files by their path in the image, and symbolic links by their target.

    Folders come first and members in the order of their paths; time, owner and group are 0, modes 0644 and
    0755. Nothing is copied: the blob is headers between the files, and its digest takes one streaming pass.
    """
    links = links or {}
    executable = set(executable)
    pieces = folders((*files, *links))
    for path in sorted({*files, *links}):
        if path in links:
            pieces.append(_header(path, tarfile.SYMTYPE, 0o777, target=links[path]))
        else:
            mode = 0o755 if path in executable else 0o644
            pieces += member(path, Piece(size=files[path].stat().st_size, path=files[path]), mode)
    return hashed(Content(pieces=(*pieces, END)))


def in_memory(files: Mapping[str, bytes]) -> Blob:
    """A layer as `layer` makes it, of files that are in memory."""
    pieces = folders(files)
    for path in sorted(files):
        pieces += member(path, Piece(size=len(files[path]), data=files[path]))
    return hashed(Content(pieces=(*pieces, END)))


def folders(paths: Iterable[str]) -> list[Piece]:
    """The headers of every folder above these paths, outer ones first."""
    found = {str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"."}
    return [_header(f"{folder}/", tarfile.DIRTYPE, 0o755) for folder in sorted(found)]


def member(path: str, data: Piece, mode: int = 0o644) -> list[Piece]:
    """A file's header, its bytes, and zeros up to the next block."""
    pieces = [_header(path, tarfile.REGTYPE, mode, data.size), data]
    if rest := -data.size % _BLOCK:
        pieces.append(Piece(size=rest, data=b"\0" * rest))
    return pieces


def _header(path: str, kind: bytes, mode: int, size: int = 0, target: str = "") -> Piece:
    """A POSIX.1-2001 header: plain ustar, with extended records only where a name or a size needs them."""
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.size, member.linkname = kind, mode, size, target
    data = member.tobuf(tarfile.PAX_FORMAT)
    return Piece(size=len(data), data=data)
