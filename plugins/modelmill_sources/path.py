"""The source `path`: a folder or a file of this machine, used where it lies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelmill import Location, Opener, Resolution, Source, SourceError, SourceFile, Stream

REVISION = "in place"
"""A folder has no revisions; what it was is told by the digests of its files."""


def resolve(location: Location, scratch: Path) -> Resolution:  # noqa: ARG001 - nothing is fetched
    """The files of a folder, or one file as a folder of its own. SourceError where there are none."""
    if location.revision is not None:
        raise SourceError(f"path:{location.uri}: a folder has no revision; remove `revision`")
    root = location.base / location.uri
    if root.is_file():
        return Resolution(revision=REVISION, files=(_file(root.parent, root),), root=root.parent)
    if not root.is_dir():
        raise SourceError(f"path:{location.uri}: there is no such file or folder ({root})")
    files = tuple(_file(root, path) for path in _walk(root))
    if not files:
        raise SourceError(f"path:{location.uri}: the folder is empty ({root})")
    return Resolution(revision=REVISION, files=files, root=root)


@contextmanager
def connect(location: Location, scratch: Path) -> Iterator[Opener]:  # noqa: ARG001
    """Opens files where they lie. SourceError for one that is gone."""
    root = location.base / location.uri
    folder = root.parent if root.is_file() else root

    def open_file(file: SourceFile, start: int) -> Stream:
        try:
            return open_here(folder / file.path, start)
        except OSError as error:
            raise SourceError(f"path:{location.uri}: {file.path} cannot be read: {error.strerror}") from None

    yield open_file


def open_here(path: Path, start: int) -> Stream:
    """A file of this machine as a stream. Raises OSError."""
    file = path.open("rb")
    file.seek(start)
    return Stream(read=file.read, close=file.close, start=start)


def _walk(root: Path) -> list[Path]:
    """Every file but hidden ones, which are version control's and caches' business; links to files are followed."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.extend(Path(folder) / name for name in names if not name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _file(root: Path, path: Path) -> SourceFile:
    return SourceFile(path=path.relative_to(root).as_posix(), size=path.stat().st_size)


SOURCE = Source(name="path", local=True, resolve=resolve, connect=connect)
