"""What the source that `new-plugin` writes does with archives that are damaged, encrypted or large."""

import importlib
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelmill import Location, SourceError
from modelmill.scaffold import new_plugin

WEIGHTS = b"weights, weights and weights once more. " * 4096
LOCAL_HEADER = 30 + len("model.safetensors")
"""Bytes before a member's content."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The record that a new plugin offers, imported from its repository."""
    new_plugin("an-archive", "source", tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "modelmill-an-archive")
    module: Any = importlib.import_module("modelmill_an_archive")
    yield next(iter(module.modelmill_sources()))
    del sys.modules["modelmill_an_archive"]


def archive(folder: Path, compression: int) -> bytearray:
    with zipfile.ZipFile(folder / "model.zip", "w", compression) as file:
        file.writestr("model.safetensors", WEIGHTS)
    return bytearray((folder / "model.zip").read_bytes())


def flip(data: bytearray, place: int) -> None:
    data[place] ^= 0xFF


def set_in_both_headers(data: bytearray, place: int, value: int) -> None:
    """Set a byte of the member's own header and the same one of the directory, which lies two bytes further on."""
    data[place] = value
    data[data.index(b"PK\x01\x02") + 2 + place] = value


FAULTS: dict[str, tuple[int, Callable[[bytearray], None]]] = {
    "a wrong checksum": (zipfile.ZIP_STORED, partial(flip, place=LOCAL_HEADER + 100)),
    "a broken stream": (zipfile.ZIP_DEFLATED, partial(flip, place=LOCAL_HEADER)),
    "a password": (zipfile.ZIP_STORED, partial(set_in_both_headers, place=6, value=1)),
    "an unknown compression": (zipfile.ZIP_STORED, partial(set_in_both_headers, place=8, value=1)),
    "a wrong header": (zipfile.ZIP_STORED, partial(flip, place=0)),
    "no directory": (zipfile.ZIP_STORED, lambda data: data.__delitem__(slice(-60, None))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_archive_is_a_source_error(fault: str, source: Any, tmp_path: Path) -> None:
    compression, spoil = FAULTS[fault]
    data = archive(tmp_path, compression)
    spoil(data)
    (tmp_path / "model.zip").write_bytes(data)
    with pytest.raises(SourceError, match=r"^model\.zip"):
        read_all(source, tmp_path)


def test_a_sound_one_gives_what_is_in_it(source: Any, tmp_path: Path) -> None:
    archive(tmp_path, zipfile.ZIP_DEFLATED)
    assert read_all(source, tmp_path) == [WEIGHTS]


def test_an_archive_that_changes_after_the_lock_is_refused(source: Any, tmp_path: Path) -> None:
    data = archive(tmp_path, zipfile.ZIP_STORED)
    location = resolved(source, tmp_path)
    (tmp_path / "model.zip").write_bytes(data + b"\0")
    with pytest.raises(SourceError, match="changed since"), source.connect(location, tmp_path):
        pass


def test_an_archive_is_never_in_memory_as_a_whole(source: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as file:
        file.writestr("model.safetensors", bytes(64 << 20))
    tracemalloc.start()
    location = resolved(source, tmp_path)
    with source.connect(location, tmp_path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def resolved(source: Any, folder: Path) -> Location:
    found = source.resolve(Location(uri="model.zip", revision=None, base=folder), folder)
    return Location(uri="model.zip", revision=found.revision, base=folder)


def read_all(source: Any, folder: Path) -> list[bytes]:
    """Every file of the archive, read a piece at a time."""
    location = resolved(source, folder)
    files = source.resolve(location, folder).files
    with source.connect(location, folder) as opener:
        streams = [opener(file, 0) for file in files]
        try:
            return [b"".join(iter(partial(stream.read, 4096), b"")) for stream in streams]
        finally:
            for stream in streams:
                stream.close()
