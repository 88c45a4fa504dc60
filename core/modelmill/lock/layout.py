"""Locked files that are on this machine, shown as a folder."""

from collections.abc import Iterable
from pathlib import Path

from modelmill.lock.records import LockedFile
from modelmill.store import Store
from modelmill.store.filesystem import writing
from modelmill.tree import OutFile
from modelmill.types import SourceFile


def show_in_place(root: Path, files: Iterable[LockedFile | SourceFile], folder: Path) -> None:
    """Show files below a folder as links to where they are used in place."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to((root / file.path).absolute())


def lay_out(store: Store, root: Path | None, files: Iterable[LockedFile], folder: Path) -> None:
    """Show these files below a folder: from the store, or from `root` where they are used in place."""
    if root is None:
        store.show((OutFile(path=f.path, mode=0o644, size=f.size, sha256=f.sha256) for f in files), folder)
    else:
        show_in_place(root, files, folder)
