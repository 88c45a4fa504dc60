"""The files that a folder holds, found without following a link, and their digests."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.hashing import Progress, sha256_descriptor
from modelmill_artifacts.manifest import File, Manifest


def listing(folder: Path) -> dict[str, int]:
    """The size of every file below a folder by its relative path, hidden ones too.

    Raises ArtifactError that names a symbolic link, anything else that is not a plain file, and an empty
    folder below this one.
    """
    found: dict[str, int] = {}
    if folder.is_symlink() or not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder")
    pending = [(str(folder), "")]
    while pending:
        place, prefix = pending.pop()
        with os.scandir(place) as scan:
            entries = list(scan)
        if prefix and not entries:
            raise ArtifactError(f"{folder}: {prefix.rstrip('/')!r} is an empty folder, which no manifest can list")
        for entry in entries:
            path = prefix + entry.name
            if entry.is_symlink():
                raise ArtifactError(f"{folder}: {path!r} is a symbolic link; an artifact holds plain files only")
            if entry.is_dir():
                pending.append((entry.path, path + "/"))
            elif entry.is_file():
                found[path] = entry.stat(follow_symlinks=False).st_size
            else:
                raise ArtifactError(f"{folder}: {path!r} is neither a file nor a folder")
    return found


def check_folder(folder: Path, manifest: Manifest, unlisted: Iterable[str]) -> None:
    """Refuse a folder whose files are not exactly the manifest's and `unlisted`, by name, kind and size.

    Reads no file. Raises ArtifactError that names the first missing, extra or differently sized file.
    """
    compare(folder, {file.path: file.size for file in manifest.files}, set(unlisted), listing(folder))


def compare(folder: Path, wanted: Mapping[str, int], unlisted: set[str], found: Mapping[str, int]) -> None:
    """Refuse found files that are not exactly those wanted; see `check_folder`."""
    for path in sorted(set(wanted) | unlisted):
        if path not in found:
            raise ArtifactError(f"{folder}: {path!r} is missing")
    for path in sorted(found):
        if path in wanted:
            if found[path] != wanted[path]:
                raise ArtifactError(f"{folder}: {path!r} has {found[path]} bytes, and should have {wanted[path]}")
        elif path not in unlisted:
            raise ArtifactError(f"{folder}: {path!r} is not part of it; remove the file, or do not trust the folder")


def sha256(path: Path, progress: Progress | None = None) -> str:
    """The hexadecimal sha256 of a file that is no link; OSError for a link."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        return sha256_descriptor(descriptor, progress)
    finally:
        os.close(descriptor)


def digests(
    folder: Path, paths: Mapping[str, int], threads: int = 0, progress: Progress | None = None
) -> dict[str, str]:
    """The sha256 of each of these files; `paths` gives their sizes, and the largest are begun first.

    `threads` 0 takes as many as there are cores.
    """
    order = sorted(paths, key=lambda path: (-paths[path], path))
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        found = pool.map(lambda path: sha256(folder / PurePosixPath(path), progress), order)
        return dict(zip(order, found, strict=True))


def files(folder: Path, known: Mapping[str, str] | None = None) -> tuple[File, ...]:
    """Every file below a folder in the order of paths; `known` digests are taken, the others are computed."""
    sizes = listing(folder)
    known = known or {}
    rest = digests(folder, {path: size for path, size in sizes.items() if path not in known})
    return tuple(
        File(path=path, sha256=known.get(path) or rest[path], size=size) for path, size in sorted(sizes.items())
    )
