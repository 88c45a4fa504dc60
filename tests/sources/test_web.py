import hashlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from oci_parts.certificates import certificates

from modelmill import Location, SourceError, SourceFile
from modelmill.testing import make_checkpoint
from modelmill_sources import hub, web
from modelmill_sources.download import Wanted, fetch_file

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "1" * 40


@dataclass
class Hub:
    """A server that speaks the hub's protocol, and goes wrong on request."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    """Statuses to answer with before all is well."""
    cut_after: int | None = None
    """Bytes after which the next answer breaks off."""
    corrupted: int = 0
    """Answers that come with one byte wrong."""
    error_code: str | None = None
    no_ranges: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    elsewhere: str | None = None
    """Another server, where files are redirected to."""


class Handler(http.server.BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.state.requests.append((self.path, self.headers.get("Range", ""), self.headers.get("Authorization")))
        if self.state.answers:
            self.reply(self.state.answers.pop(0), b"no")
        elif self.path.startswith("/api/models/"):
            self.api()
        elif self.state.elsewhere:
            self.reply(302, b"", Location=self.state.elsewhere + self.path)
        else:
            name = self.path.split(f"/resolve/{COMMIT}/")[-1].lstrip("/")
            self.reply(404, b"no") if name not in self.state.files else self.file(self.state.files[name])

    def api(self) -> None:
        _, _, rest = self.path.partition("/revision/")
        revision = rest.partition("?")[0]
        if self.state.error_code or revision not in ("main", COMMIT):
            code = self.state.error_code or "RevisionNotFound"
            self.reply(403 if code == "GatedRepo" else 404, b"{}", **{"X-Error-Code": code})
            return
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                **({"lfs": lfs(data)} if name.endswith(".safetensors") else {}),
            }
            for name, data in self.state.files.items()
        ]
        body = {
            "id": "team/model",
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
            "private": False,
        }
        self.reply(200, json.dumps(body).encode(), **{"Content-Type": "application/json"})

    def file(self, data: bytes) -> None:
        start = 0
        wanted = self.headers.get("Range")
        if wanted and not self.state.no_ranges:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
        if self.state.corrupted:
            self.state.corrupted -= 1
            data = b"\0" + data[1:] if data[0] else b"\1" + data[1:]
        self.reply(206 if start else 200, data[start:])

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if status < 300 and self.state.cut_after is not None and len(body) > self.state.cut_after:
            self.wfile.write(body[: self.state.cut_after])
            self.state.cut_after = None
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(body)


def lfs(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}


def serve(state: Hub, context: ssl.SSLContext | None = None) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.address = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub(
        files={
            "config.json": b"{}",
            "model.safetensors": CONTENT,
            "pytorch_model.bin": b"pickle",
            "modeling.py": b"code",
            "onnx/model.onnx": b"onnx",
            "model-Q4_0.gguf": b"GGUF",
            "README.md": b"# model",
        }
    )
    server = serve(state)
    monkeypatch.setenv("HF_ENDPOINT", state.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    yield state
    server.shutdown()
    server.server_close()


def wanted(state: Hub, **changes: Any) -> Wanted:
    values: dict[str, Any] = {"shown": "the file", "headers": {}, "size": len(CONTENT), "sha256": SHA256, **changes}
    return Wanted(url=f"{state.address}/model.safetensors", **values)


def no_wait(_: float) -> None:
    pass


def at(uri: str, revision: str | None = None) -> Location:
    return Location(uri=uri, revision=revision, base=Path("/nowhere"))


def test_a_file_comes_whole(tmp_path: Path, remote: Hub) -> None:
    assert fetch_file(wanted(remote), tmp_path / "f", no_wait) == SHA256
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(remote.requests) == 1


@pytest.mark.parametrize("no_ranges", [False, True])
def test_a_cut_connection_is_resumed(tmp_path: Path, remote: Hub, *, no_ranges: bool) -> None:
    remote.cut_after, remote.no_ranges = 300_000, no_ranges
    assert fetch_file(wanted(remote), tmp_path / "f", no_wait) == SHA256
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [asked for _, asked, _ in remote.requests] == ["", "bytes=300000-"]


def test_a_corrupted_file_is_fetched_again_and_then_refused(tmp_path: Path, remote: Hub) -> None:
    remote.corrupted = 1
    assert fetch_file(wanted(remote), tmp_path / "f", no_wait) == SHA256
    remote.corrupted = 2
    with pytest.raises(SourceError, match=r"the file: has the sha256 .* twice in a row"):
        fetch_file(wanted(remote), tmp_path / "f", no_wait)
    assert not (tmp_path / "f").exists()


def test_a_busy_server_is_asked_again(tmp_path: Path, remote: Hub) -> None:
    pauses: list[float] = []
    remote.answers = [503, 429, 500]
    assert fetch_file(wanted(remote), tmp_path / "f", pauses.append) == SHA256
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "credentials"), (403, "refuses access"), (404, "no such file"), (410, "is gone"), (418, "answers 418")],
)
def test_a_refusal_is_a_sentence(tmp_path: Path, remote: Hub, status: int, sentence: str) -> None:
    remote.answers = [status]
    with pytest.raises(SourceError, match=f"^the file: .*{sentence}") as caught:
        fetch_file(wanted(remote), tmp_path / "f", no_wait)
    assert "\n" not in str(caught.value)
    assert len(remote.requests) == 1


def test_a_server_that_never_recovers_is_a_sentence(tmp_path: Path, remote: Hub) -> None:
    remote.answers = [429] * 9
    with pytest.raises(SourceError, match="asks for fewer requests"):
        fetch_file(wanted(remote), tmp_path / "f", no_wait)
    remote.answers = []
    with pytest.raises(SourceError, match="the connection fails again and again"):
        fetch_file(Wanted(url="http://127.0.0.1:1/x", shown="x", headers={}), tmp_path / "f", no_wait)


def test_credentials_stay_with_their_host(tmp_path: Path, remote: Hub) -> None:
    storage = Hub(files=remote.files)
    server = serve(storage)
    remote.elsewhere = storage.address.replace("127.0.0.1", "localhost")
    fetch_file(wanted(remote, headers={"Authorization": "Bearer x"}), tmp_path / "f", no_wait)
    assert remote.requests[0][2] == "Bearer x"
    assert storage.requests[0][2] is None
    server.shutdown()
    server.server_close()


def test_a_repository_is_pinned_to_its_commit(tmp_path: Path, remote: Hub) -> None:
    found = hub.SOURCE.resolve(at("team/model"), tmp_path)
    assert found.revision == COMMIT
    assert [file.path for file in found.files] == ["config.json", "model.safetensors", "README.md"]
    assert found.files[1] == SourceFile(path="model.safetensors", size=len(CONTENT), sha256=SHA256)
    (tmp_path / "out").mkdir()
    hub.SOURCE.fetch(at("team/model", found.revision), found.files, tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == CONTENT
    assert [path for path, _, _ in remote.requests if path.startswith("/api/") and "/models/" not in path] == []
    assert {given for _, _, given in remote.requests} == {"Bearer hf_secret"}
    assert [path for path, _, _ in remote.requests if "/resolve/" in path and COMMIT not in path] == []


def test_a_build_locks_the_commit_and_fetches_nothing_else(tmp_path: Path, remote: Hub) -> None:
    make_checkpoint(tmp_path / "model", "llama")
    remote.files = {path.name: path.read_bytes() for path in sorted((tmp_path / "model").iterdir())}
    (tmp_path / "build.toml").write_text(
        '[project]\nname = "tiny"\nversion = "1"\nlicense = "MIT"\n[source.base]\nuri = "hf://team/model"\n'
        '[target.pi]\nsource = "base"\nhardware = "raspberry-pi-5"\nformat = "gguf"\nscheme = "F16"\n'
        '[sign]\nmode = "none"\n'
    )
    command = [sys.executable, "-m", "modelmill", "plan", "--store", str(tmp_path / "store")]
    subprocess.run(command, cwd=tmp_path, check=True, env=dict(os.environ), capture_output=True)
    lock = (tmp_path / "build.lock").read_text()
    assert COMMIT in lock
    assert "hf_secret" not in lock
    fetched = [path for path, _, _ in remote.requests if "/resolve/" in path]
    assert sorted(fetched) == sorted(f"/team/model/resolve/{COMMIT}/{name}" for name in remote.files)


def test_patterns_choose_files(tmp_path: Path, remote: Hub) -> None:
    found = hub.SOURCE.resolve(at(f"team/model@{COMMIT}#*.gguf,config.json"), tmp_path)
    assert [file.path for file in found.files] == ["config.json", "model-Q4_0.gguf"]
    with pytest.raises(SourceError, match=r"none of its 7 files matches \*\.txt"):
        hub.SOURCE.resolve(at("team/model#*.txt"), tmp_path)
    assert remote.requests


def test_the_hubs_own_cache_is_used(tmp_path: Path, remote: Hub) -> None:
    """In a process of its own: the library reads where its cache is when it is imported."""
    root = tmp_path / "hf-home" / "hub" / "models--team--model"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(b"{}")
    (tmp_path / "out").mkdir()
    code = (
        "import sys; from pathlib import Path; from modelmill import Location, SourceFile\n"
        "from modelmill_sources.hub import SOURCE\n"
        f"SOURCE.fetch(Location(uri='team/model', revision='{COMMIT}', base=Path('/')),\n"
        "    (SourceFile(path='config.json', size=2),), Path(sys.argv[1]), Path(sys.argv[1]))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=True, env=dict(os.environ))
    assert (tmp_path / "out" / "config.json").read_bytes() == b"{}"
    assert remote.requests == []


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("GatedRepo", r"is gated; accept its terms at http://127.*/team/model and set HF_TOKEN"),
        ("RepoNotFound", r"there is no such model, or it is private"),
        ("RevisionNotFound", r"has no such revision"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence(tmp_path: Path, remote: Hub, code: str, sentence: str) -> None:
    remote.error_code = code
    with pytest.raises(SourceError, match=f"^hf://team/model: {sentence}") as caught:
        hub.SOURCE.resolve(at("team/model"), tmp_path)
    assert "\n" not in str(caught.value)
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["model", "a/b/c", "team/model@", "../x/y", ""])
def test_a_uri_that_names_no_repository_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(SourceError, match="is not OWNER/NAME"):
        hub.SOURCE.resolve(at(uri), tmp_path)


def test_a_file_that_leaves_the_repository_is_refused(tmp_path: Path, remote: Hub) -> None:
    remote.files["../evil.json"] = b"{}"
    with pytest.raises(SourceError, match="leaves the repository"):
        hub.SOURCE.resolve(at("team/model"), tmp_path)


def test_an_address_with_its_digest_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key, authority = certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    state = Hub(files={"model.gguf": CONTENT})
    server = serve(state, context)
    address = state.address.removeprefix("https://")
    found = web.SOURCE.resolve(at(f"{address}/model.gguf#sha256={SHA256}"), tmp_path)
    assert found.files == (SourceFile(path="model.gguf", size=len(CONTENT), sha256=SHA256),)
    (tmp_path / "out").mkdir()
    web.SOURCE.fetch(at(f"{address}/model.gguf#sha256={SHA256}"), found.files, tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "model.gguf").read_bytes() == CONTENT
    with pytest.raises(SourceError, match=r"model.gguf: has the sha256"):
        web.SOURCE.fetch(at(f"{address}/model.gguf#sha256={'0' * 64}"), found.files, tmp_path / "out", tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        web.SOURCE.resolve(at(f"{address}/gone.gguf#sha256={SHA256}"), tmp_path)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("host/model.gguf", "pin the file by its digest"),
        ("host/model.gguf#sha256=abc", "pin the file by its digest"),
        (f"me:secret@host/model.gguf#sha256={SHA256}", "must hold no password"),
        (f"host/#sha256={SHA256}", "names no file"),
        (f"host/..#sha256={SHA256}", "names no file"),
    ],
)
def test_an_address_that_pins_nothing_is_refused(tmp_path: Path, uri: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence) as caught:
        web.SOURCE.resolve(at(uri), tmp_path)
    assert "secret" not in str(caught.value)
