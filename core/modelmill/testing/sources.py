"""What a source has to keep to: a suite that a plugin's tests subclass."""

import hashlib
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pytest

from modelmill.errors import SourceError
from modelmill.testing.folders import snapshot
from modelmill.testing.plugins import source
from modelmill.testing.suite import Suite
from modelmill.types import Location, Opener, Resolution, Source, SourceFile


class SourceSuite(Suite):
    """Subclass it, name the plugin and the source, and say what it can be tried on without a network."""

    hook: ClassVar[str] = "sources"
    name: ClassVar[str]
    """The scheme of its URIs."""
    keeps_revisions: ClassVar[bool] = False
    """Whether what a revision names stays as it is when its URI comes to stand for something else, as commits do."""

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        """Make something that the source can reach, below an empty folder; say where, and which files it holds."""
        raise NotImplementedError("def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]")

    def missing(self, folder: Path) -> Location:
        """Where there is nothing."""
        return Location(uri="no/such/place", revision=None, base=folder)

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        """Have what the source reaches hold these files from now on, or not at all (None); say whether that was done.

        It is what the same URI comes to stand for; what an older revision names stays where `keeps_revisions` says so.
        By default it is done where the files lie below the folder that `make_location` was given.
        """
        places = [(path, content) for path in folder.rglob("*") for name, content in files.items() if _is(path, name)]
        for path, content in places:
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
        return len(places) == len(files)

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
        with self._sound("resolve"):
            resolution = resolve(record, place[0], tmp_path / "scratch")
        found = {file.path: file.size for file in resolution.files}
        wanted = {path: len(content) for path, content in place[1].items()}
        assert found == wanted, f"{self}: finds other files than there are: {sorted(found.items() ^ wanted.items())}"
        for file in resolution.files:
            digests = {None, hashlib.sha256(place[1][file.path]).hexdigest()}
            assert file.sha256 in digests, f"{self}: {file.path}: tells a digest that the file does not have"
            is_below = not PurePosixPath(file.path).is_absolute() and ".." not in PurePosixPath(file.path).parts
            assert is_below, f"{self}: {file.path} leaves its folder"
        assert resolution.revision, f"{self}: resolves to no exact revision"

    def test_resolve_gives_the_same_answer_twice(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], tmp_path: Path
    ) -> None:
        with self._sound("resolve"):
            first = resolve(record, place[0], tmp_path / "first")
            second = resolve(record, place[0], tmp_path / "second")
        assert second == first, f"{self}: resolves the same place in two ways"

    @pytest.mark.parametrize("part", [0.0, 0.5], ids=["front", "middle"])
    def test_files_are_read_from_any_place_on(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], tmp_path: Path, part: float
    ) -> None:
        before = snapshot(tmp_path / "place")
        with self._sound("resolve"):
            resolution = resolve(record, place[0], tmp_path / "scratch")
        (tmp_path / "more").mkdir()
        with self._sound("read"), record.connect(_exact(place[0], resolution), tmp_path / "more") as opener:
            read = [(file, int(file.size * part), *_read(opener, file, part)) for file in resolution.files[::2]]
        for file, asked, start, content in read:
            assert start in {0, asked}, f"{self}: {file.path}: starts at {start}, and {asked} was asked for"
            is_right = content == place[1][file.path][start:]
            assert is_right, f"{self}: {file.path}: other bytes come from {start} on than are there"
        assert snapshot(tmp_path / "place") == before, f"{self}: changes what it reads"

    def test_files_that_changed_since_the_lock_are_noticed(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], tmp_path: Path
    ) -> None:
        changed = {path: bytes(byte ^ 1 for byte in content) for path, content in place[1].items()}
        with self._sound("resolve"):
            before = resolve(record, place[0], tmp_path / "before")
        self._change(tmp_path / "place", changed)
        with self._sound("resolve, of files that changed"):
            try:
                after = resolve(record, place[0], tmp_path / "after")
            except SourceError:
                return
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in place[1].items()}
        if all(digest in place[0].uri for digest in digests.values()):
            # Such a URI cannot come to stand for other files: the engine refuses what comes, by these digests.
            found = {file.path: file.sha256 for file in after.files}
            assert found == digests, f"{self}: every file changed, and it tells other digests than the URI pins"
        else:
            # Files in a folder of this machine are looked at by the engine itself, in every build.
            told = f"{self}: every file changed, and it resolves to the revision and the digests of before"
            assert after.root is not None or after != before, told
        self._check_locked(record, place, before, tmp_path / "more")

    def test_a_file_that_is_gone_since_the_lock_is_a_source_error(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], tmp_path: Path
    ) -> None:
        with self._sound("resolve"):
            before = resolve(record, place[0], tmp_path / "before")
        self._change(tmp_path / "place", {max(place[1]): None})
        for name, content in self._check_locked(record, place, before, tmp_path / "more"):
            assert content == place[1][name], f"{self}: {name} is gone, and other bytes come in its place"

    def test_nothing_there_is_a_source_error(self, record: Source, tmp_path: Path) -> None:
        location = self.missing(tmp_path)
        with self._refused(SourceError, "a place where nothing is"):
            resolve(record, location, tmp_path / "scratch")

    def _change(self, folder: Path, files: Mapping[str, bytes | None]) -> None:
        if not self.change(folder, files):
            pytest.skip(f"{self}: the suite does not say how to change what the source reaches: def change(self, ...)")

    def _check_locked(
        self, record: Source, place: tuple[Location, Mapping[str, bytes]], locked: Resolution, scratch: Path
    ) -> list[tuple[str, bytes]]:
        """Read what was locked, of which there may be no more: what comes, where it is no error that sources raise.

        Where revisions are kept it has to come, byte for byte.
        """
        scratch.mkdir()
        came = []
        with self._sound("read, of what is no more as it was locked"):
            try:
                with record.connect(_exact(place[0], locked), scratch) as opener:
                    for file in locked.files:
                        # An OSError is a cut connection, which the engine tries again; the digest is its concern too.
                        with suppress(SourceError, OSError):
                            came.append((file.path, _read(opener, file, 0)[1]))
            except SourceError:
                pass
        if self.keeps_revisions:
            kept = dict(came)
            lost = [file.path for file in locked.files if kept.get(file.path) != place[1][file.path]]
            assert not lost, f"{self}: {', '.join(lost)}: not read as locked, though {locked.revision} is kept"
        return came


def resolve(record: Source, location: Location, scratch: Path) -> Resolution:
    """Resolve with an empty scratch folder."""
    scratch.mkdir()
    return record.resolve(location, scratch)


def _exact(location: Location, resolution: Resolution) -> Location:
    return Location(uri=location.uri, revision=resolution.revision, base=location.base)


def _read(opener: Opener, file: SourceFile, part: float) -> tuple[int, bytes]:
    """Where a file's stream starts, asked for from that part of it on, and what is in it."""
    with closing(opener(file, int(file.size * part))) as stream:
        return stream.start, b"".join(iter(partial(stream.read, 4096), b""))


def _is(path: Path, name: str) -> bool:
    return path.is_file() and path.as_posix().endswith(f"/{name}")
