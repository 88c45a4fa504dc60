"""What breaks on the way is resumed, or refused with a sentence; the number of injected faults is printed."""

import contextlib
import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oci_parts.blobs import path_of
from oci_parts.faults import Fault, FaultProxy, fault_proxy
from oci_parts.keeping import keeping_registry
from oci_parts.registries import RegistryServer

from modelmill import RemoteError
from modelmill_oci.content import Blob
from modelmill_oci.download import download
from modelmill_oci.registry import Registry
from modelmill_oci.upload import upload

Open = Callable[..., Registry]
Make = Callable[..., Blob]

SIZE = 8_000_000


def stored_sha256(registry: RegistryServer, blob: Blob) -> str:
    return "sha256:" + hashlib.sha256(registry.blob_path(blob.digest).read_bytes()).hexdigest()


@pytest.mark.parametrize("cut", [0, 1, 100, 65_536, 1_000_000, SIZE - 1, SIZE + 100])
def test_a_push_that_is_cut_arrives_whole(
    open_registry: Open, registry: RegistryServer, proxy: FaultProxy, make_blob: Make, cut: int
) -> None:
    blob = make_blob(SIZE)
    proxy.faults.append(Fault(when="PATCH /v2/", cut_up=cut))
    assert upload(open_registry(proxy.host), blob) == SIZE
    assert proxy.injected == 1
    assert stored_sha256(registry, blob) == blob.digest
    print(f"faults injected: {proxy.injected}; {proxy.bytes_up} bytes sent for a blob of {SIZE}")


@pytest.mark.parametrize("answer", ["503 Service Unavailable", "429 Too Many Requests\r\nRetry-After: 0"])
def test_a_push_in_chunks_goes_on_with_the_chunk_that_was_refused(
    open_registry: Open,
    registry: RegistryServer,
    proxy: FaultProxy,
    make_blob: Make,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    monkeypatch.setattr("modelmill_oci.upload._CHUNK", 1_000_000)
    blob = make_blob(SIZE)
    proxy.faults.append(Fault(when="PATCH /v2/", answer="413 Payload Too Large"))
    proxy.faults.append(Fault(when="PATCH /v2/", skip=5, answer=answer, times=2))
    assert upload(open_registry(proxy.host), blob) == SIZE
    assert proxy.injected == 3
    assert stored_sha256(registry, blob) == blob.digest
    patches = [path for method, path in registry.requests() if method == "PATCH"]
    assert len(patches) == 8, "chunks that had arrived were sent again"
    print(f"faults injected: {proxy.injected}; {len(patches)} chunks sent for a blob of 8")


def test_a_push_goes_on_in_the_middle_where_the_registry_keeps_what_arrived(
    open_registry: Open, make_blob: Make
) -> None:
    blob = make_blob(SIZE)
    with keeping_registry() as (keeping, port), fault_proxy(port) as proxy:
        proxy.faults.append(Fault(when="PATCH /v2/", cut_up=1_000_000))
        proxy.faults.extend(Fault(when="PATCH /v2/", cut_up=700_000) for _ in range(9))
        assert upload(open_registry(proxy.host, tries=3), blob) == SIZE
        assert proxy.injected == 10
        assert proxy.bytes_up < SIZE * 1.3, "what had arrived was sent again"
        assert list(keeping.blobs) == [blob.digest]
        print(f"faults injected: {proxy.injected}; {proxy.bytes_up} bytes sent for a blob of {SIZE}")


def test_a_registry_that_is_killed_during_a_push_and_comes_back_gets_the_rest(
    open_registry: Open, registry: RegistryServer, proxy: FaultProxy, make_blob: Make
) -> None:
    blob = make_blob(SIZE)
    proxy.faults.append(Fault(when="PATCH /v2/", cut_up=SIZE // 2))
    with killed_at_the_first_fault(registry, proxy):
        assert upload(open_registry(proxy.host, backoff=0.2), blob) == SIZE
    assert stored_sha256(registry, blob) == blob.digest


def test_a_registry_that_is_killed_during_a_pull_and_comes_back_serves_the_rest(
    open_registry: Open, registry: RegistryServer, proxy: FaultProxy, make_blob: Make, tmp_path: Path
) -> None:
    blob = make_blob(SIZE)
    upload(open_registry(registry.host), blob)
    proxy.faults.append(Fault(when="GET /v2/team/m/blobs", cut_down=SIZE // 2))
    with killed_at_the_first_fault(registry, proxy):
        download(open_registry(proxy.host, backoff=0.2), blob.digest, SIZE, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path_of(blob).read_bytes()
    assert proxy.bytes_down < SIZE * 1.1, "what had arrived was sent again"


@contextlib.contextmanager
def killed_at_the_first_fault(registry: RegistryServer, proxy: FaultProxy) -> Iterator[None]:
    """Kill the registry once a fault was injected, and start it again a moment later."""

    def kill_and_restart() -> None:
        while not proxy.injected:
            time.sleep(0.005)
        registry.kill(signal.SIGKILL)
        time.sleep(0.3)
        registry.start()

    thread = threading.Thread(target=kill_and_restart)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize("cut", [0, 100, 300, 65_536, 1_000_000, SIZE - 1])
def test_a_pull_that_is_cut_goes_on_where_it_was(
    open_registry: Open, registry: RegistryServer, proxy: FaultProxy, make_blob: Make, tmp_path: Path, cut: int
) -> None:
    blob = make_blob(SIZE)
    upload(open_registry(registry.host), blob)
    proxy.faults.append(Fault(when="GET /v2/team/m/blobs", cut_down=cut))
    download(open_registry(proxy.host), blob.digest, SIZE, tmp_path / "back")
    assert proxy.injected == 1
    assert (tmp_path / "back").read_bytes() == path_of(blob).read_bytes()
    assert proxy.bytes_down < SIZE + 200_000, "what had arrived was sent again"
    print(f"faults injected: {proxy.injected}; {proxy.bytes_down} bytes received for a blob of {SIZE}")


def test_a_pull_that_failed_is_resumed_by_the_next_one(
    open_registry: Open, registry: RegistryServer, proxy: FaultProxy, make_blob: Make, tmp_path: Path
) -> None:
    blob = make_blob(SIZE)
    upload(open_registry(registry.host), blob)
    proxy.faults.append(Fault(when="GET /v2/team/m/blobs", cut_down=5_000_000))
    with pytest.raises(RemoteError, match="broke off after"):
        download(open_registry(proxy.host, tries=1), blob.digest, SIZE, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    before = proxy.bytes_down
    download(open_registry(proxy.host), blob.digest, SIZE, tmp_path / "back")
    assert proxy.bytes_down - before < SIZE - 4_500_000
    assert (tmp_path / "back").read_bytes() == path_of(blob).read_bytes()


def test_a_byte_that_flips_on_the_way_is_fetched_again(
    open_registry: Open, registry: RegistryServer, proxy: FaultProxy, make_blob: Make, tmp_path: Path
) -> None:
    blob = make_blob(SIZE)
    upload(open_registry(registry.host), blob)
    proxy.faults.append(Fault(when="GET /v2/team/m/blobs", flip=1_234_567))
    download(open_registry(proxy.host), blob.digest, SIZE, tmp_path / "back")
    assert proxy.injected == 1
    assert (tmp_path / "back").read_bytes() == path_of(blob).read_bytes()


def test_a_part_that_rotted_on_disk_is_not_built_upon(
    open_registry: Open, registry: RegistryServer, make_blob: Make, tmp_path: Path
) -> None:
    blob = make_blob(SIZE)
    upload(open_registry(registry.host), blob)
    (tmp_path / "back.part").write_bytes(b"rotten" * 1000)
    download(open_registry(registry.host), blob.digest, SIZE, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path_of(blob).read_bytes()


@pytest.mark.parametrize(
    "answer",
    [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable\r\nRetry-After: 0",
        "429 Too Many Requests\r\nRetry-After: 0",
    ],
)
@pytest.mark.parametrize("when", ["HEAD /v2/", "POST /v2/", "PUT /v2/"])
def test_a_registry_that_is_overloaded_for_a_moment_is_asked_again(
    open_registry: Open, registry: RegistryServer, proxy: FaultProxy, make_blob: Make, answer: str, when: str
) -> None:
    blob = make_blob(200_000)
    proxy.faults.append(Fault(when=when, answer=answer, times=3))
    assert upload(open_registry(proxy.host), blob) == 200_000
    assert proxy.injected == 3
    assert stored_sha256(registry, blob) == blob.digest
    print(f"faults injected: {proxy.injected}")


@pytest.mark.parametrize(
    ("answer", "body", "sentence"),
    [
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=x", b"", "wants a user name and a password"),
        ("401 Unauthorized", b"", "neither Basic nor Bearer"),
        ("403 Forbidden", b'{"errors":[{"code":"DENIED","message":"not yours"}]}', "DENIED: not yours"),
        ("404 Not Found", b'{"errors":[{"code":"NAME_UNKNOWN","message":"no such"}]}', "not found: 404.*NAME_UNKNOWN"),
        ("507 Insufficient Storage", b"<html>", "answered 507"),
        ("503 Service Unavailable", b"", "503.*gave up after 6 tries"),
        ("307 Temporary Redirect\r\nLocation: http://r.example/x", b"", "reached without TLS"),
        ("307 Temporary Redirect\r\nLocation: /v2/team/m/blobs/x", b"", "redirects more than 5 times"),
    ],
)
def test_a_refusal_is_a_sentence(
    open_registry: Open, proxy: FaultProxy, tmp_path: Path, answer: str, body: bytes, sentence: str
) -> None:
    proxy.faults.append(Fault(when="/v2/team/m/blobs", answer=answer, body=body, times=1000))
    with pytest.raises(RemoteError, match=sentence):
        download(open_registry(proxy.host), "sha256:" + "0" * 64, 10, tmp_path / "back")
    assert proxy.injected
    assert not list(tmp_path.glob("back*"))


def test_a_registry_that_is_away_is_a_sentence(open_registry: Open, registry: RegistryServer) -> None:
    registry.kill()
    with pytest.raises(RemoteError, match=r"Connection refused.*gave up after 2 tries"):
        open_registry(registry.host, tries=2).digest_of("1")


def test_an_endless_blob_does_not_fill_the_disk(open_registry: Open, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.faults.append(Fault(when="/blobs/", answer="200 OK", body=b"x" * 5_000_000, times=1000))
    with pytest.raises(RemoteError, match="something other than sha256:"):
        download(open_registry(proxy.host), "sha256:" + "0" * 64, 10, tmp_path / "back")
    assert not list(tmp_path.glob("back*"))


def test_a_range_that_was_not_asked_for_is_refused(open_registry: Open, proxy: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "back.part").write_bytes(b"12345")
    answer = "206 Partial Content\r\nContent-Range: bytes 0-4/10"
    proxy.faults.append(Fault(when="/blobs/", answer=answer, body=b"67890", times=1000))
    with pytest.raises(RemoteError, match=r"answers a range from 5 with 'bytes 0-4/10'|something other"):
        download(open_registry(proxy.host), "sha256:" + "0" * 64, 10, tmp_path / "back")


def test_a_full_disk_is_a_sentence_and_the_next_pull_goes_on(
    open_registry: Open, registry: RegistryServer, make_blob: Make, small_disk: Path
) -> None:
    blob = make_blob(SIZE)
    upload(open_registry(registry.host), blob)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 9_000_000)
    with pytest.raises(RemoteError, match=r"bytes free and 8000000 are needed; make room"):
        download(open_registry(registry.host), blob.digest, SIZE, small_disk / "back")
    ballast.unlink()
    download(open_registry(registry.host), blob.digest, SIZE, small_disk / "back")
    assert (small_disk / "back").stat().st_size == SIZE


def test_a_disk_that_fills_up_meanwhile_is_a_sentence(
    open_registry: Open, registry: RegistryServer, make_blob: Make, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelmill_oci import download as module

    blob = make_blob(SIZE)
    upload(open_registry(registry.host), blob)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 9_000_000)
    monkeypatch.setattr(module, "_check_space", lambda *_: None)
    with pytest.raises(RemoteError, match=r"No space left on device\); make room and pull again"):
        download(open_registry(registry.host), blob.digest, SIZE, small_disk / "back")
    assert not (small_disk / "back").exists()
    ballast.unlink()
    before = (small_disk / "back.part").stat().st_size
    moved = download(open_registry(registry.host), blob.digest, SIZE, small_disk / "back")
    assert 0 < moved <= SIZE - before
