"""Models in a real registry as a source, with a proxy before it that goes wrong on request."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from oci_parts.faults import Fault, FaultProxy
from oci_parts.programs import program
from oci_parts.registries import RegistryServer, docker_config, registry_server
from source_parts.fetching import fetch, partial_files

import modelmill_oci
from modelmill import Location, PackageJob, Packager, SourceError, TransientError
from modelmill.testing import SourceSuite, make_checkpoint
from modelmill_oci.content import of_bytes
from modelmill_oci.media import FILEPATH, MANIFEST, MODEL_CONFIG, MODEL_MANIFEST, MODEL_WEIGHT
from modelmill_oci.registry import Registry
from modelmill_oci.transport import Request
from modelmill_oci.upload import upload

(SOURCE,) = modelmill_oci.modelmill_sources()
PACKAGERS: dict[str, Packager[Any]] = {item.name: item for item in modelmill_oci.modelmill_packagers()}
WEIGHTS = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()

Make = Callable[..., Registry]


def at(uri: str, revision: str | None = None) -> Location:
    return Location(uri=uri, revision=revision, base=Path("/nowhere"))


def layer(registry: Registry, data: bytes, kind: str = MODEL_WEIGHT, **notes: str) -> dict[str, Any]:
    blob = of_bytes(data)
    upload(registry, blob)
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size, "annotations": notes}


def push(registry: Registry, layers: list[dict[str, Any]], tag: str | None = "1") -> str:
    config = layer(registry, b"{}", MODEL_CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": MODEL_MANIFEST, "config": config}
    return registry.put_manifest(json.dumps({**manifest, "layers": layers}).encode(), MANIFEST, tag)[0]


@pytest.fixture
def model(registry: RegistryServer, open_registry: Make) -> str:
    """A ModelPack of two files; its digest."""
    there = open_registry(registry.host)
    files = {"model.safetensors": WEIGHTS, "sub/config.json": b"{}"}
    return push(there, [layer(there, data, **{FILEPATH: path}) for path, data in files.items()])


class TestOci(SourceSuite):
    plugin = "modelmill_oci"
    name = "oci"
    keeps_revisions = True

    @pytest.fixture(autouse=True)
    def served(self, registry: RegistryServer, model: str, open_registry: Make) -> None:
        assert model
        self.host = registry.host
        self.there = open_registry(registry.host)
        self.files = {"model.safetensors": WEIGHTS, "sub/config.json": b"{}"}

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        del folder
        return at(f"{self.host}/team/m:1"), self.files

    def missing(self, folder: Path) -> Location:
        del folder
        return at(f"{self.host}/team/gone:1")

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        """Another artifact under the same tag; the digest that was locked cannot stand for other bytes, and stays."""
        del folder
        now = {**self.files, **files}
        push(
            self.there, [layer(self.there, data, **{FILEPATH: path}) for path, data in now.items() if data is not None]
        )
        return True


def test_a_modelpack_is_its_files(tmp_path: Path, registry: RegistryServer, model: str) -> None:
    for uri, revision in (("team/m:1", None), (f"team/m@{model}", None), ("team/m", "1"), ("team/m:other", model)):
        found = SOURCE.resolve(at(f"{registry.host}/{uri}", revision), tmp_path)
        assert found.revision == model
        assert [(file.path, file.size) for file in found.files] == [
            ("model.safetensors", len(WEIGHTS)),
            ("sub/config.json", 2),
        ]
        assert found.files[0].sha256 == SHA256
    came = fetch(SOURCE, at(f"{registry.host}/team/m:1", model), found.files, tmp_path)
    assert came == {"model.safetensors": WEIGHTS, "sub/config.json": b"{}"}


@pytest.mark.parametrize("form", ["modelpack", "docker-model-runner"])
def test_what_the_packagers_write_is_read(tmp_path: Path, release: Path, registry: RegistryServer, form: str) -> None:
    packager = PACKAGERS[form]
    (tmp_path / "layout").mkdir()
    job = PackageJob(artifact=release / "laptop", out=tmp_path / "layout", options=packager.options())
    packager.package(job)
    (listed,) = json.loads((tmp_path / "layout" / "index.json").read_bytes())["manifests"]
    command = [program("skopeo"), "copy", "-q", "--dest-tls-verify=false", f"oci:{tmp_path / 'layout'}"]
    subprocess.run([*command, f"docker://{registry.host}/team/packed:1"], check=True)
    found = SOURCE.resolve(at(f"{registry.host}/team/packed:1"), tmp_path)
    assert found.revision == listed["digest"]
    (weights,) = [file for file in found.files if file.path.endswith(".gguf")]
    came = fetch(SOURCE, at(f"{registry.host}/team/packed", found.revision), (weights,), tmp_path)
    assert came[weights.path] == (release / "laptop" / weights.path).read_bytes()


def test_docker_model_runners_layers_get_the_names_that_it_gives_them(
    tmp_path: Path, registry: RegistryServer, open_registry: Make
) -> None:
    there = open_registry(registry.host)
    kinds = ("gguf.v3", "gguf.v3", "license", "chat.template.jinja")
    layers = [layer(there, bytes([n]), f"application/vnd.docker.ai.{kind}") for n, kind in enumerate(kinds)]
    push(there, layers)
    found = SOURCE.resolve(at(f"{registry.host}/team/m:1"), tmp_path)
    assert [file.path for file in found.files] == [
        "LICENSE",
        "chat_template.jinja",
        "model-00001-of-00002.gguf",
        "model-00002-of-00002.gguf",
    ]


def test_a_layer_that_the_registry_has_no_more_is_told(
    tmp_path: Path, registry: RegistryServer, model: str, open_registry: Make
) -> None:
    found = SOURCE.resolve(at(f"{registry.host}/team/m:1"), tmp_path)
    there = open_registry(registry.host)
    target = f"{there.path}/blobs/sha256:{SHA256}"
    there.call(Request(method="DELETE", target=target, scope=there.push_scope), (202,))
    with pytest.raises(SourceError, match=rf"^oci://{registry.host}/team/m: .*not found") as caught:
        fetch(SOURCE, at(f"{registry.host}/team/m", model), found.files[:1], tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.fault
def test_a_cut_connection_is_resumed(tmp_path: Path, proxy: FaultProxy, model: str) -> None:
    found = SOURCE.resolve(at(f"{proxy.host}/team/m:1"), tmp_path)
    before = proxy.bytes_down
    proxy.faults = [Fault(when=f"/blobs/sha256:{SHA256}", cut_down=600_000)]
    came = fetch(SOURCE, at(f"{proxy.host}/team/m", model), found.files[:1], tmp_path)
    assert came == {"model.safetensors": WEIGHTS}
    assert proxy.injected == 1
    assert proxy.bytes_down - before < len(WEIGHTS) + 5_000, "resumed, not restarted"


@pytest.mark.fault
def test_a_corrupted_layer_is_fetched_again_and_then_refused(tmp_path: Path, proxy: FaultProxy, model: str) -> None:
    found = SOURCE.resolve(at(f"{proxy.host}/team/m:1"), tmp_path)
    broken = Fault(when=f"/blobs/sha256:{SHA256}", flip=500_000)
    proxy.faults = [broken]
    where = at(f"{proxy.host}/team/m", model)
    assert fetch(SOURCE, where, found.files[:1], tmp_path)["model.safetensors"] == WEIGHTS
    proxy.faults = [Fault(when=f"/blobs/sha256:{SHA256}", flip=500_000, times=2)]
    with pytest.raises(SourceError, match=r"model.safetensors has the sha256 .* twice in a row"):
        fetch(SOURCE, where, found.files[:1], tmp_path / "other")
    assert partial_files(tmp_path / "other") == []
    assert proxy.injected == 3


@pytest.mark.fault
@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        ("401 Unauthorized", SourceError, "answers 401 and offers neither Basic nor Bearer"),
        ("403 Forbidden", SourceError, "refuses access to team/m: 403 Forbidden; check the user name"),
        ("404 Not Found", SourceError, "there is no such artifact; check its spelling"),
        ("429 Too Many Requests", TransientError, "answered GET with 429 Too Many Requests"),
    ],
)
def test_a_refusal_is_a_sentence(
    tmp_path: Path, proxy: FaultProxy, answer: str, kind: type[SourceError], sentence: str
) -> None:
    proxy.faults = [Fault(when="/manifests/", answer=answer)]
    with pytest.raises(kind, match=sentence) as caught:
        SOURCE.resolve(at(f"{proxy.host}/team/m:1"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_private_registry_is_reached_as_docker_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_registry: Make
) -> None:
    line = subprocess.run([program("htpasswd"), "-Bbn", "ada", "lovelace"], capture_output=True, check=True).stdout
    (tmp_path / "htpasswd").write_bytes(line)
    auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {tmp_path}/htpasswd\n"
    with registry_server(tmp_path / "registry", auth=auth) as server:
        with pytest.raises(SourceError, match="wants a user name and a password"):
            SOURCE.resolve(at(f"{server.host}/team/m:1"), tmp_path)
        entry = {"auths": {server.host: {"auth": "YWRhOmxvdmVsYWNl"}}}
        for name, value in docker_config(tmp_path / "docker", entry).items():
            monkeypatch.setenv(name, value)
        there = open_registry(server.host)
        digest = push(there, [layer(there, WEIGHTS, **{FILEPATH: "model.gguf"})])
        found = SOURCE.resolve(at(f"{server.host}/team/m:1"), tmp_path)
        assert fetch(SOURCE, at(f"{server.host}/team/m", digest), found.files, tmp_path) == {"model.gguf": WEIGHTS}


def test_what_is_no_model_is_refused(tmp_path: Path, registry: RegistryServer, open_registry: Make) -> None:
    there = open_registry(registry.host)
    push(there, [layer(there, b"x", "application/vnd.cncf.model.weight.v1.tar", **{FILEPATH: "a"})], "tar")
    push(there, [layer(there, b"x", "application/octet-stream")], "nameless")
    push(there, [layer(there, b"x", **{FILEPATH: "a"}), layer(there, b"y", **{FILEPATH: "a"})], "twice")
    digests = [push(there, [layer(there, bytes([n]), **{FILEPATH: "a"})], f"n{n}") for n in (1, 2)]
    listed = [{"mediaType": MANIFEST, "digest": digest, "size": 1} for digest in digests]
    index = "application/vnd.oci.image.index.v1+json"
    there.put_manifest(json.dumps({"schemaVersion": 2, "mediaType": index, "manifests": listed}).encode(), index, "two")
    sentences = {
        "tar": "is an archive",
        "nameless": "names no file",
        "twice": "is there twice",
        "two": f"index of 2 manifests; name one by its digest: {digests[0]}",
        "gone": "there is no such artifact",
    }
    for tag, sentence in sentences.items():
        with pytest.raises(SourceError, match=sentence):
            SOURCE.resolve(at(f"{registry.host}/team/m:{tag}"), tmp_path)
    for uri in ("UPPER/case", f"{registry.host}/team/m@sha256:12", ""):
        with pytest.raises(SourceError):
            SOURCE.resolve(at(uri), tmp_path)


def test_a_build_pins_the_digest_and_says_what_moved(
    tmp_path: Path, registry: RegistryServer, open_registry: Make
) -> None:
    there = open_registry(registry.host)
    make_checkpoint(tmp_path / "model", "llama")
    files = {path.name: path for path in sorted((tmp_path / "model").iterdir())}

    def publish() -> str:
        return push(there, [layer(there, path.read_bytes(), **{FILEPATH: name}) for name, path in files.items()])

    first = publish()
    (tmp_path / "build.toml").write_text(
        f'[project]\nname = "tiny"\nversion = "1"\nlicense = "MIT"\n[source.base]\nuri = "oci://{registry.host}/team/m:1"\n'
        '[target.pi]\nsource = "base"\nhardware = "raspberry-pi-5"\nformat = "gguf"\nscheme = "F16"\n'
        '[sign]\nmode = "none"\n'
    )

    def mill(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "modelmill", *words, "--store", str(tmp_path / "store")]
        return subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, env=dict(os.environ))

    assert mill("lock").returncode == 0
    assert f'revision = "{first}"' in (tmp_path / "build.lock").read_text()
    assert mill("lock", "--check").returncode == 0
    files["config.json"].write_bytes(files["config.json"].read_bytes() + b"\n")
    second = publish()
    done = mill("lock", "--check")
    assert done.returncode == 2
    assert f"base: revision {first} is now {second}" in done.stdout
    assert "base: config.json changed" in done.stdout
    assert done.stdout.count(" changed") == 1
