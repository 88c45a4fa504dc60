"""A registry of Azure Machine Learning as a source: the real identity library, and a server of the test's own."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from source_parts.azure import SIGNATURE, TOKEN, Azure, serving
from source_parts.building import Mill
from source_parts.fetching import fetch, partial_files

from modelmill import Location, SourceError, SourceFile, TransientError
from modelmill.testing import SourceSuite, make_checkpoint
from modelmill_sources.azureml import SOURCE

CONTENT = bytes(range(256)) * 4096
WEIGHTS = SourceFile(path="model.safetensors", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
TINY = "registries/azureml/models/tiny/versions/3"


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Azure]:
    for name in [name for name in os.environ if name.startswith(("AZURE", "IDENTITY", "MSI"))]:
        monkeypatch.delenv(name)
    state = Azure(
        blobs={
            "models/one/config.json": b"{}",
            "models/one/model.safetensors": CONTENT,
            "models/one/data/a b.txt": b"text",
            "models/one-other/config.json": b"no",
        },
        folders=("models/one/data",),
    )
    with serving(state):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("REGISTRY_DISCOVERY_ENDPOINT_URL", f"{state.address}/")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{state.address}/identity")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        yield state


def at(uri: str = TINY, revision: str | None = None) -> Location:
    return Location(uri=uri, revision=revision, base=Path("/nowhere"))


class TestAzureml(SourceSuite):
    plugin = "modelmill_sources"
    name = "azureml"

    @pytest.fixture(autouse=True)
    def served(self, azure: Azure) -> None:
        self.azure = azure

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        del folder
        return at(), {"config.json": b"{}", "data/a b.txt": b"text", "model.safetensors": CONTENT}

    def missing(self, folder: Path) -> Location:
        del folder
        return at("registries/azureml/models/gone/versions/1")

    def change(self, folder: Path, files: Mapping[str, bytes | None]) -> bool:
        """Other blobs below the version's prefix: the registry says where a version lies, not what it holds."""
        del folder
        for name, data in files.items():
            del self.azure.blobs[f"models/one/{name}"]
            if data is not None:
                self.azure.blobs[f"models/one/{name}"] = data
        return True


def test_a_model_of_a_registry_is_its_files(tmp_path: Path, azure: Azure) -> None:
    found = SOURCE.resolve(at(), tmp_path)
    assert [(file.path, file.size) for file in found.files] == [
        ("config.json", 2),
        ("data/a b.txt", 4),
        ("model.safetensors", len(CONTENT)),
    ]
    assert found.mixed
    assert SOURCE.resolve(at(), tmp_path) == found
    came = fetch(SOURCE, at(), found.files, tmp_path)
    assert came == {"config.json": b"{}", "data/a b.txt": b"text", "model.safetensors": CONTENT}
    azure.blobs["models/one/config.json"] = b"[]"
    assert SOURCE.resolve(at(), tmp_path).revision != found.revision


def test_a_folder_of_a_model_is_a_checkpoint_of_its_own(tmp_path: Path, azure: Azure) -> None:
    found = SOURCE.resolve(at(f"{TINY}#data"), tmp_path)
    assert [file.path for file in found.files] == ["a b.txt"]
    assert fetch(SOURCE, at(f"{TINY}#data"), found.files, tmp_path) == {"a b.txt": b"text"}
    azure.blobs = {"models/one": CONTENT}
    found = SOURCE.resolve(at(), tmp_path)
    assert [file.path for file in found.files] == ["one"]
    assert fetch(SOURCE, at(), found.files, tmp_path) == {"one": CONTENT}


def test_the_token_goes_to_the_registry_and_no_further(tmp_path: Path, azure: Azure) -> None:
    fetch(SOURCE, at(), (WEIGHTS,), tmp_path)
    given = {"/container" in path: headers.get("Authorization") for _, path, headers in azure.requests[1:]}
    assert given == {True: None, False: f"Bearer {TOKEN}"}


def test_a_signature_that_ran_out_is_asked_for_anew(tmp_path: Path, azure: Azure) -> None:
    azure.faults = [("/model.safetensors", 403)]
    assert fetch(SOURCE, at(), (WEIGHTS,), tmp_path) == {"model.safetensors": CONTENT}
    assert sum("/datarefs/" in path for _, path, _ in azure.requests) == 2


@pytest.mark.fault
def test_a_cut_connection_is_resumed(tmp_path: Path, azure: Azure) -> None:
    azure.cut_after = 300_000
    assert fetch(SOURCE, at(), (WEIGHTS,), tmp_path) == {"model.safetensors": CONTENT}
    ranges = [headers.get("Range") for _, path, headers in azure.requests if "/model.safetensors" in path]
    assert ranges == [None, "bytes=300000-"]


@pytest.mark.fault
def test_a_corrupted_file_is_fetched_again_and_then_refused(tmp_path: Path, azure: Azure) -> None:
    azure.corrupted = 1
    assert fetch(SOURCE, at(), (WEIGHTS,), tmp_path) == {"model.safetensors": CONTENT}
    azure.corrupted = 2
    with pytest.raises(SourceError, match=r"model.safetensors has the sha256 .* twice in a row"):
        fetch(SOURCE, at(), (WEIGHTS,), tmp_path / "other")
    assert partial_files(tmp_path / "other") == []


@pytest.mark.fault
@pytest.mark.parametrize("where", ["/discovery", "/models/tiny", "/datarefs/", "/container?"])
@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, SourceError, "wants credentials"),
        (403, SourceError, "refuses access"),
        (404, SourceError, "no such file"),
        (429, TransientError, "fewer requests"),
    ],
)
def test_a_refusal_is_a_sentence(
    tmp_path: Path, azure: Azure, where: str, status: int, kind: type[SourceError], sentence: str
) -> None:
    azure.faults = [(where, status)]
    with pytest.raises(kind, match=f"^azureml://{TINY}: .*{sentence}") as caught:
        SOURCE.resolve(at(), tmp_path)
    assert "\n" not in str(caught.value)
    assert SIGNATURE not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_who_is_nobody_is_told(tmp_path: Path, azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="finds no credentials; run `az login`"):
        SOURCE.resolve(at(), tmp_path)
    assert not [path for _, path, _ in azure.requests if "/identity" not in path]


@pytest.mark.parametrize(
    ("uri", "revision", "sentence"),
    [
        ("registries/azureml/models/tiny", None, "is not azureml://registries/"),
        ("registries/../models/a/versions/1/x", None, "is not azureml://registries/"),
        (TINY, "4", "the version is in the URI"),
        (f"{TINY}#gone", None, "has no files below gone"),
    ],
)
@pytest.mark.usefixtures("azure")
def test_what_names_no_model_is_refused(tmp_path: Path, uri: str, revision: str | None, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        SOURCE.resolve(at(uri, revision), tmp_path)


def test_an_unknown_cloud_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "Cirrus")
    with pytest.raises(SourceError, match="known are AzureCloud"):
        SOURCE.resolve(at(), tmp_path)


@pytest.mark.fault
def test_a_build_waits_for_a_registry_that_is_busy(tmp_path: Path, azure: Azure) -> None:
    make_checkpoint(tmp_path / "model", "llama")
    azure.blobs = {f"models/one/{path.name}": path.read_bytes() for path in (tmp_path / "model").iterdir()}
    azure.folders = ()
    mill = Mill(tmp_path / "build", f"azureml://{TINY}")
    azure.faults = [("/discovery", 503), ("/container?", 429), ("/datarefs/", 429), ("/model.safetensors", 500)]
    done = mill("lock")
    assert done.code == 0, done.err
    assert azure.faults == []
    assert mill("build", "--locked", "--offline").code == 0
    text = (mill.folder / "build.lock").read_text()
    assert f'uri = "azureml://{TINY}"' in text
    assert "secret" not in text
    assert TOKEN not in text
    azure.blobs["models/one/config.json"] += b" "
    done = mill("lock", "--check")
    assert (done.code, "base: config.json changed" in done.out) == (2, True)
