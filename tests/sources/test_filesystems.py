"""Buckets as sources: moto's S3 server with a proxy before it that goes wrong on request, and fsspec's own systems."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from oci_parts.faults import Fault, FaultProxy, fault_proxy
from source_parts.building import Mill
from source_parts.fetching import fetch, partial_files

from modelmill import Location, Source, SourceError, SourceFile, TransientError
from modelmill.testing import SourceSuite, make_checkpoint
from modelmill_sources import filesystems

SOURCES: dict[str, Source] = {source.name: source for source in filesystems.sources()}
CONTENT = hashlib.shake_128(b"weights").digest(20_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WEIGHTS = SourceFile(path="model.safetensors", size=len(CONTENT), sha256=SHA256)
WHERE = Location(uri="models/tiny", revision=None, base=Path("/nowhere"))


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultProxy]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAVERYSECRET",
        "AWS_SECRET_ACCESS_KEY": "muchmoresecret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    with fault_proxy(port) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{running.host}")
        yield running
    server.stop()


@pytest.fixture
def bucket(proxy: FaultProxy) -> Any:
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{proxy.upstream}")
    client.create_bucket(Bucket="models")
    for name, data in {"model.safetensors": CONTENT, "config.json": b"{}", "sub/optimizer.pt": b"x"}.items():
        client.put_object(Bucket="models", Key=f"tiny/{name}", Body=data)
    return client


class TestS3(SourceSuite):
    plugin = "modelmill_sources"
    name = "s3"

    @pytest.fixture(autouse=True)
    def filled(self, proxy: FaultProxy) -> None:
        self.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{proxy.upstream}")
        self.client.create_bucket(Bucket="models")
        self.files = {"config.json": b"{}", "model.safetensors": CONTENT[:100_000], "sub/optimizer.pt": b"x"}
        for name, data in self.files.items():
            self.client.put_object(Bucket="models", Key=f"tiny/{name}", Body=data)

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        del folder
        return WHERE, self.files

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        """Other objects under the same keys, which is what a bucket without versions has."""
        del folder
        for name, data in files.items():
            if data is None:
                self.client.delete_object(Bucket="models", Key=f"tiny/{name}")
            else:
                self.client.put_object(Bucket="models", Key=f"tiny/{name}", Body=data)
        return True


class TestFsspec(SourceSuite):
    plugin = "modelmill_sources"
    name = "fsspec"

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        files = {"config.json": b"{}", "sub/weights.bin": CONTENT[:100_000]}
        (folder / "sub").mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return Location(uri=f"file://{folder}", revision=None, base=folder), files

    def missing(self, folder: Path) -> Location:
        return Location(uri=f"file://{folder}/gone", revision=None, base=folder)


@pytest.mark.usefixtures("bucket")
def test_a_folder_of_a_bucket_is_its_files(tmp_path: Path) -> None:
    found = SOURCES["s3"].resolve(WHERE, tmp_path)
    assert [(file.path, file.size) for file in found.files] == [
        ("config.json", 2),
        ("model.safetensors", len(CONTENT)),
        ("sub/optimizer.pt", 1),
    ]
    assert found.mixed
    assert SOURCES["s3"].resolve(WHERE, tmp_path) == found
    assert fetch(SOURCES["s3"], WHERE, found.files[:2], tmp_path) == {"config.json": b"{}", WEIGHTS.path: CONTENT}


def test_the_revision_is_another_when_an_object_is(tmp_path: Path, bucket: Any) -> None:
    before = SOURCES["s3"].resolve(WHERE, tmp_path)
    bucket.put_object(Bucket="models", Key="tiny/config.json", Body=b"[]")
    after = SOURCES["s3"].resolve(WHERE, tmp_path)
    assert before.files == after.files
    assert before.revision != after.revision


@pytest.mark.usefixtures("bucket")
def test_one_object_is_a_folder_of_one_file(tmp_path: Path) -> None:
    where = Location(uri="models/tiny/model.safetensors", revision=None, base=tmp_path)
    found = SOURCES["s3"].resolve(where, tmp_path)
    assert [file.path for file in found.files] == ["model.safetensors"]
    assert fetch(SOURCES["s3"], where, found.files, tmp_path) == {"model.safetensors": CONTENT}


@pytest.mark.usefixtures("bucket")
@pytest.mark.fault
def test_a_cut_connection_is_resumed(tmp_path: Path, proxy: FaultProxy) -> None:
    proxy.faults = [Fault(when="GET /models/tiny/model.safetensors", cut_down=5_000_000, skip=1)]
    before = proxy.bytes_down
    assert fetch(SOURCES["s3"], WHERE, (WEIGHTS,), tmp_path) == {WEIGHTS.path: CONTENT}
    assert proxy.injected == 1
    assert proxy.bytes_down - before < len(CONTENT) + 6_000_000, "only the block that was cut is fetched again"


@pytest.mark.usefixtures("bucket")
@pytest.mark.fault
def test_a_corrupted_object_is_fetched_again_and_then_refused(tmp_path: Path, proxy: FaultProxy) -> None:
    proxy.faults = [Fault(when="GET /models/tiny/model.safetensors", flip=100_000)]
    assert fetch(SOURCES["s3"], WHERE, (WEIGHTS,), tmp_path) == {WEIGHTS.path: CONTENT}
    proxy.faults = [Fault(when="GET /models/tiny/model.safetensors", flip=100_000, times=99)]
    with pytest.raises(SourceError, match=r"model.safetensors has the sha256 .* twice in a row"):
        fetch(SOURCES["s3"], WHERE, (WEIGHTS,), tmp_path / "other")
    assert partial_files(tmp_path / "other") == []


@pytest.mark.usefixtures("bucket")
@pytest.mark.fault
@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        ("401 Unauthorized", SourceError, "wants credentials"),
        ("403 Forbidden", SourceError, "refuses access"),
        ("404 Not Found", SourceError, "no such file"),
        ("429 Too Many Requests", TransientError, "fewer requests"),
    ],
)
def test_a_refusal_is_a_sentence(
    tmp_path: Path, proxy: FaultProxy, answer: str, kind: type[SourceError], sentence: str
) -> None:
    proxy.faults = [Fault(when=" /models", answer=answer, times=99)]
    with pytest.raises(kind, match=f"^s3://models/tiny: .*{sentence}") as caught:
        SOURCES["s3"].resolve(WHERE, tmp_path)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value).lower()


@pytest.mark.usefixtures("bucket")
def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    for uri in ("models/gone", "no-such-bucket/x"):
        with pytest.raises(SourceError, match=r"there (are no files|is no such file)"):
            SOURCES["s3"].resolve(Location(uri=uri, revision=None, base=tmp_path), tmp_path)


def test_a_lock_of_a_bucket_says_which_object_changed_and_holds_no_secret(tmp_path: Path, bucket: Any) -> None:
    make_checkpoint(tmp_path / "model", "llama")
    for path in (tmp_path / "model").iterdir():
        bucket.put_object(Bucket="models", Key=f"small/{path.name}", Body=path.read_bytes())
    mill = Mill(tmp_path, "s3://models/small")
    assert mill("lock").code == 0
    text = (tmp_path / "build.lock").read_text()
    assert "AKIA" not in text
    assert "secret" not in text
    assert mill("lock", "--check").code == 0
    bucket.put_object(
        Bucket="models", Key="small/config.json", Body=(tmp_path / "model/config.json").read_bytes() + b" "
    )
    done = mill("lock", "--check")
    assert done.code == 2
    assert "base: config.json changed" in done.out


def test_any_file_system_of_fsspec_is_reached(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    where = Location(uri=f"file://{tmp_path}/model", revision=None, base=tmp_path)
    found = SOURCES["fsspec"].resolve(where, tmp_path)
    assert fetch(SOURCES["fsspec"], where, found.files, tmp_path) == {"config.json": b"{}"}


@pytest.mark.parametrize(
    ("scheme", "uri", "revision", "sentence"),
    [
        ("s3", "key:word@bucket/x", None, "must hold no password"),
        ("fsspec", "https://host/x?sig=word@", None, "must hold no query"),
        ("s3", "models/tiny", "main", "a folder has no revision"),
        ("gs", "models/tiny", None, r"pip install 'modelmill\[gs\]'"),
        ("az", "models/tiny", None, r"pip install 'modelmill\[az\]'"),
        ("abfs", "models/tiny", None, r"pip install 'modelmill\[az\]'"),
        ("fsspec", "nothing://x", None, "nothing"),
    ],
)
def test_what_cannot_be_reached_is_told(
    tmp_path: Path, scheme: str, uri: str, revision: str | None, sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence) as caught:
        SOURCES[scheme].resolve(Location(uri=uri, revision=revision, base=tmp_path), tmp_path)
    assert "word@" not in str(caught.value)
