"""The one downloader, against a server that goes wrong on request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from source_parts.fetching import fetch, partial_files
from source_parts.hub import CONTENT, SHA256, Hub, serving

from modelmill import Location, Opener, Source, SourceError, SourceFile, Stream
from modelmill.errors import StoreError
from modelmill.lock.download import Order, download
from modelmill.store import Store
from modelmill_sources.http import Address, open_at

WEIGHTS = SourceFile(path="model.safetensors", size=len(CONTENT), sha256=SHA256)


def plain(remote: Hub, **headers: str) -> Source:
    """A source that is nothing but a server's files."""

    @contextmanager
    def connect(_: Location, __: Path) -> Iterator[Opener]:
        def open_file(file: SourceFile, start: int) -> Stream:
            return open_at(Address(url=f"{remote.address}/{file.path}", shown="the file", headers=headers), start)

        yield open_file

    return Source(name="plain", resolve=lambda location, scratch: pytest.fail("nobody resolves here"), connect=connect)  # noqa: ARG005


def get(remote: Hub, folder: Path, file: SourceFile = WEIGHTS, **more: Any) -> bytes:
    where = Location(uri="here", revision="1", base=Path("/nowhere"))
    return fetch(plain(remote, **more.pop("headers", {})), where, (file,), folder, **more)[file.path]


def test_a_file_comes_whole(tmp_path: Path, remote: Hub) -> None:
    assert get(remote, tmp_path) == CONTENT
    assert len(remote.requests) == 1
    assert get(remote, tmp_path) == CONTENT
    assert len(remote.requests) == 1, "what the store has is not fetched again"
    assert partial_files(tmp_path) == []


@pytest.mark.parametrize("no_ranges", [False, True])
def test_a_cut_connection_is_resumed(tmp_path: Path, remote: Hub, *, no_ranges: bool) -> None:
    remote.cut_after, remote.no_ranges = 300_000, no_ranges
    assert get(remote, tmp_path) == CONTENT
    assert [asked for _, asked, _ in remote.requests] == ["", "bytes=300000-"]


def test_a_later_run_goes_on_where_one_ended(tmp_path: Path, remote: Hub) -> None:
    remote.cut_after = 300_000
    with pytest.raises(KeyboardInterrupt):
        get(remote, tmp_path, pause=interrupted)
    assert [path.stat().st_size for path in partial_files(tmp_path)] == [300_000]
    assert get(remote, tmp_path) == CONTENT
    assert [asked for _, asked, _ in remote.requests] == ["", "bytes=300000-"]


def interrupted(_: float) -> None:
    raise KeyboardInterrupt


def test_whole_files_stay_when_another_fails(tmp_path: Path, remote: Hub) -> None:
    remote.files["config.json"] = b"{}"
    files = (SourceFile(path="config.json", size=2), SourceFile(path="gone", size=9))
    where = Location(uri="here", revision="1", base=Path("/nowhere"))
    with pytest.raises(SourceError, match="no such file"):
        fetch(plain(remote), where, files, tmp_path)
    asked = len(remote.requests)
    sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert get(remote, tmp_path, SourceFile(path="config.json", size=2, sha256=sha256)) == b"{}"
    assert len(remote.requests) == asked


def test_a_corrupted_file_is_fetched_again_and_then_refused(tmp_path: Path, remote: Hub) -> None:
    remote.corrupted = 1
    assert get(remote, tmp_path) == CONTENT
    remote.corrupted = 2
    with pytest.raises(SourceError, match=r"model.safetensors has the sha256 .* twice in a row, and the source prom"):
        get(remote, tmp_path / "other")
    assert partial_files(tmp_path / "other") == []


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1, 5])
def test_a_file_of_another_size_is_refused(tmp_path: Path, remote: Hub, size: int) -> None:
    with pytest.raises(SourceError):
        get(remote, tmp_path, SourceFile(path="model.safetensors", size=size))


def test_a_busy_server_is_asked_again(tmp_path: Path, remote: Hub) -> None:
    pauses: list[float] = []
    remote.answers = [503, 429, 500]
    assert get(remote, tmp_path, pause=pauses.append) == CONTENT
    assert pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "credentials"), (403, "refuses access"), (404, "no such file"), (410, "is gone"), (418, "answers 418")],
)
def test_a_refusal_is_a_sentence(tmp_path: Path, remote: Hub, status: int, sentence: str) -> None:
    remote.answers = [status]
    with pytest.raises(SourceError, match=f"^the file: .*{sentence}") as caught:
        get(remote, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(remote.requests) == 1


def test_a_server_that_never_recovers_is_a_sentence(tmp_path: Path, remote: Hub) -> None:
    remote.answers = [429] * 9
    with pytest.raises(SourceError, match=r"gave up: the file: the server asks for fewer requests"):
        get(remote, tmp_path)
    with pytest.raises(SourceError, match=r"gave up: the file: cannot be reached"):
        get(Hub(address="http://127.0.0.1:1"), tmp_path / "other")


def test_credentials_stay_with_their_host(tmp_path: Path, remote: Hub) -> None:
    with serving(Hub(files=remote.files)) as storage:
        remote.elsewhere = storage.address.replace("127.0.0.1", "localhost")
        get(remote, tmp_path, headers={"Authorization": "Bearer x"})
        assert remote.requests[0][2] == "Bearer x"
        assert storage.requests[0][2] is None


def test_two_that_fetch_the_same_file_fetch_it_once(tmp_path: Path, remote: Hub) -> None:
    remote.files = {"model.safetensors": CONTENT}
    threads = [threading.Thread(target=get, args=(remote, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(remote.requests) == 1


def test_a_disk_without_room_is_a_sentence_and_no_reason_to_try_again(tmp_path: Path, remote: Hub) -> None:
    remote.requests.clear()
    with pytest.raises(SourceError, match="make room"):
        get(remote, tmp_path, SourceFile(path="model.safetensors", size=2**60))
    assert remote.requests == []


def test_a_disk_that_fills_up_is_a_sentence(small_disk: Path, monkeypatch: pytest.MonkeyPatch, remote: Hub) -> None:
    monkeypatch.setattr("modelmill.lock.download._check_space", lambda *_: None)
    with pytest.raises(StoreError, match="No space left"):
        get(remote, small_disk)
    assert len(remote.requests) == 1


def test_progress_is_told(tmp_path: Path, remote: Hub) -> None:
    told: list[tuple[int, int]] = []
    order = Order(origin="here", revision="1", files=(WEIGHTS,))
    with plain(remote).connect(Location(uri="", revision="1", base=tmp_path), tmp_path) as opener:
        download(opener, order, Store(tmp_path / "store"), note=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(CONTENT), len(CONTENT))
