import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from oci_parts.certificates import certificates
from source_parts.fetching import fetch
from source_parts.hub import COMMIT, CONTENT, SHA256, Hub, serving

from modelmill import Location, SourceError, SourceFile
from modelmill.testing import SourceSuite, make_checkpoint
from modelmill_sources import hub, web


def at(uri: str, revision: str | None = None) -> Location:
    return Location(uri=uri, revision=revision, base=Path("/nowhere"))


MOVED = "3" * 40


@pytest.fixture
def web_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server with a certificate and one file, `model.gguf`."""
    certificate, key, authority = certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with serving(Hub(files={"model.gguf": CONTENT}), context) as state:
        yield state


@pytest.fixture
def address(web_server: Hub) -> str:
    """Where that server is."""
    return web_server.address.removeprefix("https://")


class TestHf(SourceSuite):
    plugin = "modelmill_sources"
    name = "hf"
    keeps_revisions = True

    @pytest.fixture(autouse=True)
    def served(self, remote: Hub) -> None:
        self.remote = remote
        self.files = remote.files

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        del folder
        return at("team/model"), self.files

    def missing(self, folder: Path) -> Location:
        del folder
        return at(f"team/model@{'2' * 40}")

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        """A further commit, which `main` stands for from now on: the hub has both."""
        del folder
        self.remote.older[self.remote.commit] = self.files
        now = {**self.files, **files}
        self.remote.commit, self.remote.files = MOVED, {name: data for name, data in now.items() if data is not None}
        return True


class TestHttps(SourceSuite):
    plugin = "modelmill_sources"
    name = "https"

    @pytest.fixture(autouse=True)
    def served(self, web_server: Hub, address: str) -> None:
        self.server, self.address = web_server, address

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        del folder
        return at(f"{self.address}/model.gguf#sha256={SHA256}"), {"model.gguf": CONTENT}

    def missing(self, folder: Path) -> Location:
        del folder
        return at(f"{self.address}/gone.gguf#sha256={SHA256}")

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        """Another file at the same address: what the URI pins by its digest is then nowhere."""
        del folder
        self.server.files = {name: data for name, data in files.items() if data is not None}
        return True


def test_a_repository_is_pinned_to_its_commit(tmp_path: Path, remote: Hub) -> None:
    found = hub.SOURCE.resolve(at("team/model"), tmp_path)
    assert found.revision == COMMIT
    assert [file.path for file in found.files] == list(remote.files)
    assert found.mixed
    assert found.files[1] == SourceFile(path="model.safetensors", size=len(CONTENT), sha256=SHA256)
    assert fetch(hub.SOURCE, at("team/model", found.revision), found.files, tmp_path)["model.safetensors"] == CONTENT
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
    command = [sys.executable, "-m", "modelmill", "lock", "--store", str(tmp_path / "store")]
    subprocess.run(command, cwd=tmp_path, check=True, env=dict(os.environ), capture_output=True)
    lock = (tmp_path / "build.lock").read_text()
    assert COMMIT in lock
    assert "hf_secret" not in lock
    fetched = [path for path, _, _ in remote.requests if "/resolve/" in path]
    assert sorted(fetched) == sorted(f"/team/model/resolve/{COMMIT}/{name}" for name in remote.files)


def test_a_commit_that_the_hub_has_no_more_is_told(tmp_path: Path, remote: Hub) -> None:
    found = hub.SOURCE.resolve(at("team/model"), tmp_path)
    remote.commit = MOVED
    with pytest.raises(SourceError, match=r"^hf://team/model: config.json: there is no such file \(404\)"):
        fetch(hub.SOURCE, at("team/model", found.revision), found.files[:1], tmp_path)


def test_patterns_choose_files(tmp_path: Path, remote: Hub) -> None:
    found = hub.SOURCE.resolve(at(f"team/model@{COMMIT}#*.gguf,config.json"), tmp_path)
    assert [file.path for file in found.files] == ["config.json", "model-Q4_0.gguf"]
    with pytest.raises(SourceError, match=r"none of its 7 files matches \*\.txt"):
        hub.SOURCE.resolve(at("team/model#*.txt"), tmp_path)
    assert remote.requests


@pytest.mark.parametrize("content", [b"{}", b"[]"])
def test_the_hubs_own_cache_is_used_where_it_is_sound(tmp_path: Path, remote: Hub, content: bytes) -> None:
    """In a process of its own: the library reads where its cache is when it is imported."""
    snapshot = tmp_path / "hf-home" / "hub" / "models--team--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(content)
    code = (
        "import sys; from pathlib import Path; from modelmill import Location, SourceFile\n"
        "from modelmill_sources.hub import SOURCE; from source_parts.fetching import fetch\n"
        f"where = Location(uri='team/model', revision='{COMMIT}', base=Path('/'))\n"
        f"files = (SourceFile(path='config.json', size=2, sha256='{hashlib.sha256(b'{}').hexdigest()}'),)\n"
        "assert fetch(SOURCE, where, files, Path(sys.argv[1])) == {'config.json': b'{}'}\n"
    )
    parts = str(Path(__file__).parents[1] / "parts")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env={**os.environ, "PYTHONPATH": parts})
    assert len(remote.requests) == (0 if content == b"{}" else 1)


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


def test_an_address_with_its_digest_is_a_source(tmp_path: Path, address: str) -> None:
    good = at(f"{address}/model.gguf#sha256={SHA256}")
    found = web.SOURCE.resolve(good, tmp_path)
    assert found.files == (SourceFile(path="model.gguf", size=len(CONTENT), sha256=SHA256),)
    assert fetch(web.SOURCE, good, found.files, tmp_path) == {"model.gguf": CONTENT}
    other = at(f"{address}/model.gguf#sha256={'0' * 64}")
    with pytest.raises(SourceError, match=r"model.gguf has the sha256"):
        fetch(web.SOURCE, other, web.SOURCE.resolve(other, tmp_path).files, tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        web.SOURCE.resolve(at(f"{address}/gone.gguf#sha256={SHA256}"), tmp_path)


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
