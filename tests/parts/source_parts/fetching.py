"""Files of a source through the engine's own downloader."""

from collections.abc import Callable
from pathlib import Path

from modelmill import Location, Source, SourceFile
from modelmill.lock.download import Order, download
from modelmill.store import Store


def no_wait(_: float) -> None:
    pass


def fetch(
    source: Source,
    location: Location,
    files: tuple[SourceFile, ...],
    folder: Path,
    pause: Callable[[float], object] = no_wait,
) -> dict[str, bytes]:
    """What the store below `folder` then has of these files."""
    store = Store(folder / "store")
    scratch = folder / "fetch-scratch"
    scratch.mkdir(exist_ok=True)
    order = Order(origin=f"{source.name}:{location.uri}", revision=location.revision or "", files=files)
    with source.connect(location, scratch) as opener:
        found = download(opener, order, store, pause=pause)
    return {file.path: store.blob(file.sha256).read_bytes() for file in found}


def partial_files(folder: Path) -> list[Path]:
    """What lies half fetched in the store below `folder`."""
    return sorted((folder / "store" / "partial").iterdir())
