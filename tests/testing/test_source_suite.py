"""What the suite for sources says of those whose revisions are kept, and of those whose URIs hold digests."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelmill import Location, Opener, Resolution, Source, SourceFile, Stream
from modelmill.testing import SourceSuite

FILES = {"config.json": b"{}", "model.bin": bytes(range(256))}
PINS = ",".join(hashlib.sha256(content).hexdigest() for content in FILES.values())


class Kept(SourceSuite):
    """Commits are folders, and `head` names the newest."""

    plugin = "little_plugin"
    name = "commits"
    keeps_revisions = True

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        commit(folder, "one", FILES)
        return Location(uri=str(folder), revision=None, base=folder), FILES

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        commit(folder, "two", {**FILES, **files})
        return True


class Pinned(Kept):
    """The same with the files' digests in the URI, by which alone they are told."""

    keeps_revisions = False

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        place, files = super().make_location(folder)
        return Location(uri=f"{place.uri}#{PINS}", revision=None, base=folder), files


def commit(folder: Path, name: str, files: Mapping[str, bytes | None]) -> None:
    for path, content in files.items():
        if content is not None:
            (folder / name).mkdir(exist_ok=True)
            (folder / name / path).write_bytes(content)
    (folder / "head").write_text(name)


def source(*, reads_the_head: bool = False, reads_pins: bool = False) -> Source:
    def resolve(location: Location, scratch: Path) -> Resolution:
        del scratch
        folder, _, pins = location.uri.partition("#")
        head = Path(folder, "head").read_text()
        contents = {path.name: path.read_bytes() for path in sorted(Path(folder, head).iterdir())}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        if reads_pins:
            digests = dict(zip(contents, pins.split(","), strict=True))
        files = [SourceFile(path=name, size=len(contents[name]), sha256=digests[name]) for name in contents]
        return Resolution(revision=pins if reads_pins else head, files=tuple(files))

    @contextmanager
    def connect(location: Location, scratch: Path) -> Iterator[Opener]:
        del scratch
        folder = Path(location.uri.partition("#")[0])
        head = (folder / "head").read_text()
        name = head if reads_the_head or reads_pins else location.revision or head

        def opener(file: SourceFile, start: int) -> Stream:
            stream = (folder / name / file.path).open("rb")
            stream.seek(start)
            return Stream(read=stream.read, close=stream.close, start=start)

        yield opener

    return Source(name="commits", resolve=resolve, connect=connect)


def changed(suite: SourceSuite, record: Source, folder: Path) -> None:
    (folder / "place").mkdir()
    place = suite.make_location(folder / "place")
    suite.test_files_that_changed_since_the_lock_are_noticed(record, place, folder)


def gone(suite: SourceSuite, record: Source, folder: Path) -> None:
    (folder / "place").mkdir()
    place = suite.make_location(folder / "place")
    suite.test_a_file_that_is_gone_since_the_lock_is_a_source_error(record, place, folder)


def test_what_a_kept_revision_names_is_read_after_its_branch_moved(tmp_path: Path) -> None:
    for name, attempt in {"changed": changed, "gone": gone}.items():
        (tmp_path / name).mkdir()
        attempt(Kept(), source(), tmp_path / name)


def test_a_source_that_reads_the_branch_and_not_the_revision_is_caught(tmp_path: Path) -> None:
    told = "little_plugin: source commits: {}: not read as locked, though one is kept"
    for attempt, lost in {changed: "config.json, model.bin", gone: "model.bin"}.items():
        (tmp_path / lost).mkdir()
        with pytest.raises(AssertionError) as raised:
            attempt(Kept(), source(reads_the_head=True), tmp_path / lost)
        assert str(raised.value).startswith(told.format(lost))


def test_a_uri_that_holds_digests_stands_for_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    changed(Pinned(), source(reads_pins=True), tmp_path / "sound")
    with pytest.raises(AssertionError) as raised:
        changed(Pinned(), source(), tmp_path)
    assert str(raised.value).startswith(
        "little_plugin: source commits: every file changed, and it tells other digests than the URI pins"
    )
