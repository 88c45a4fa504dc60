"""OCI image layouts on disk: blobs by link where the file system allows it, by copy where not."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from modelmill import RemoteError
from modelmill_artifacts import canonical
from modelmill_oci import image
from modelmill_oci.content import Blob, of_bytes
from modelmill_oci.image import Image, Json

_FICLONE = 0x40049409
"""ioctl of linux/fs.h: share a file's extents."""


def write(folder: Path, images: Iterable[Image], descriptors: Iterable[Json], *, hard_links: bool = True) -> None:
    """Write a layout whose index.json lists `descriptors` (image specification 1.1, "OCI Image Layout").

    A blob that is a whole file gets a hard link to it, or a reflink, or, across file systems, a copy: never
    a second hash. `hard_links` False is for a layout that its reader may write to.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for found in images:
        for blob in (*found.blobs, of_bytes(found.manifest)):
            place(blob, blobs / blob.digest.removeprefix("sha256:"), hard_links=hard_links)
    (folder / "oci-layout").write_bytes(canonical.dumps({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_bytes(image.index(descriptors))


def place(blob: Blob, path: Path, *, hard_links: bool = True) -> None:
    """Let a blob lie at `path`; nothing happens if it does. Raises RemoteError for a disk that cannot hold it."""
    if path.exists() and path.stat().st_size == blob.size:
        return
    source = whole_file(blob)
    if source is not None and hard_links:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.hardlink_to(source)
            return
    part = path.with_name(path.name + ".part")
    try:
        if source is None or not _reflink(source, part):
            with part.open("wb") as file:
                for block in blob.content.blocks():
                    file.write(block)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RemoteError(f"{path.parent} cannot be written: {error.strerror}; make room there") from error


def whole_file(blob: Blob) -> Path | None:
    """The file that a blob is, from its first byte to its last; None for any other blob."""
    if len(blob.content.pieces) != 1:
        return None
    (piece,) = blob.content.pieces
    if piece.path is None or piece.offset or piece.path.stat().st_size != piece.size:
        return None
    return piece.path


def _reflink(source: Path, target: Path) -> bool:
    """Share the extents of a file; False where the file system cannot."""
    try:
        import fcntl
    except ImportError:
        return False
    with source.open("rb") as there, target.open("wb") as here:
        try:
            fcntl.ioctl(here.fileno(), _FICLONE, there.fileno())
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
                raise
            return False
    shutil.copymode(source, target)
    os.utime(target)
    return True
