"""What a source has to keep to: a suite that a plugin's tests subclass."""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pytest

from modelmill.errors import SourceError
from modelmill.testing.folders import snapshot
from modelmill.testing.plugins import source
from modelmill.testing.suite import Suite
from modelmill.types import Location, Resolution, Source


class SourceSuite(Suite):
    """Subclass it, name the plugin and the source, and say what it can be tried on without a network."""

    hook: ClassVar[str] = "sources"
    name: ClassVar[str]
    """The scheme of its URIs."""

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        """Make something that the source can reach, below an empty folder; say where, and which files it holds."""
        raise NotImplementedError("def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]")

    def missing(self, folder: Path) -> Location:
        """Where there is nothing."""
        return Location(uri="no/such/place", revision=None, base=folder)

    @pytest.fixture
    def record(self) -> Source:
        """The source under test."""
        return source(self.plugin, self.name)

    @pytest.fixture
    def place(self, tmp_path: Path) -> tuple[Location, Mapping[str, bytes]]:
        """What the source is tried on."""
        (tmp_path / "place").mkdir()
        return self.make_location(tmp_path / "place")

    def test_resolve_finds_every_file(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], tmp_path: Path
    ) -> None:
        resolution = resolve(record, place[0], tmp_path / "scratch")
        assert {file.path: file.size for file in resolution.files} == {
            path: len(content) for path, content in place[1].items()
        }
        for file in resolution.files:
            assert file.sha256 in {None, hashlib.sha256(place[1][file.path]).hexdigest()}
            assert not PurePosixPath(file.path).is_absolute()
            assert ".." not in PurePosixPath(file.path).parts
        assert resolution.revision, "a resolution names an exact revision"

    def test_resolve_gives_the_same_answer_twice(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], tmp_path: Path
    ) -> None:
        first = resolve(record, place[0], tmp_path / "first")
        assert resolve(record, place[0], tmp_path / "second") == first

    @pytest.mark.parametrize("part", [0.0, 0.5], ids=["front", "middle"])
    def test_files_are_read_from_any_place_on(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], tmp_path: Path, part: float
    ) -> None:
        before = snapshot(tmp_path / "place")
        resolution = resolve(record, place[0], tmp_path / "scratch")
        (tmp_path / "more").mkdir()
        exact = Location(uri=place[0].uri, revision=resolution.revision, base=place[0].base)
        with record.connect(exact, tmp_path / "more") as opener:
            for file in resolution.files[::2]:
                start = int(file.size * part)
                with closing(opener(file, start)) as stream:
                    assert stream.start in {0, start}
                    assert b"".join(iter(partial(stream.read, 4096), b"")) == place[1][file.path][stream.start :]
        assert snapshot(tmp_path / "place") == before, "a source only reads"

    def test_nothing_there_is_a_source_error(self, record: Source, tmp_path: Path) -> None:
        with pytest.raises(SourceError) as raised:
            resolve(record, self.missing(tmp_path), tmp_path / "scratch")
        assert str(raised.value).strip()


def resolve(record: Source, location: Location, scratch: Path) -> Resolution:
    """Resolve with an empty scratch folder."""
    scratch.mkdir()
    return record.resolve(location, scratch)
