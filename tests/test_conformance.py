import ast
import functools
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill import Location, registry
from modelmill.testing import (
    ConverterSuite,
    FormatSuite,
    HardwareSuite,
    PackagerSuite,
    QuantizerSuite,
    Shape,
    SignerSuite,
    SourceSuite,
    convert,
    make_artifact,
    make_checkpoint,
)
from modelmill_gguf.header import read_header
from modelmill_signers import create


def structure(folder: Path, step: int) -> Iterator[tuple[Path, range]]:
    """The headers of safetensors: their length, and what begins them, whole; of the rest, as of JSON, each `step`th."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
        yield path, range(9)
        yield path, range(9, 8 + length, step)
    for path in (folder / "config.json", folder / "model.safetensors.index.json"):
        if path.exists():
            yield path, range(0, path.stat().st_size, step)


class TestHuggingfaceToGguf(ConverterSuite):
    plugin = "modelmill_gguf"
    name = "huggingface-to-gguf"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama")


class TestGgufQuantize(QuantizerSuite):
    plugin = "modelmill_gguf"
    name = "gguf-quantize"

    def make_source(self, folder: Path) -> None:
        checkpoint = make_checkpoint(folder.parent / "hf", "llama", shape=Shape(hidden=256, intermediate=288, heads=8))
        convert("modelmill_gguf", "huggingface-to-gguf", "F16", checkpoint, folder)


class TestHuggingfaceToQuantizedGguf(ConverterSuite):
    plugin = "modelmill_gguf"
    name = "huggingface-to-quantized-gguf"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama", shape=Shape(hidden=256, intermediate=288, heads=8))


class TestGgufToImatrix(ConverterSuite):
    plugin = "modelmill_gguf"
    name = "gguf-to-imatrix"
    options: ClassVar[Mapping[str, Any]] = {"context": 64}

    def make_source(self, folder: Path) -> None:
        convert("modelmill_gguf", "huggingface-to-gguf", "F16", make_checkpoint(folder.parent / "hf", "llama"), folder)

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        text = folder / "text"
        text.mkdir()
        (text / "foxes.txt").write_text("The quick brown fox jumps over the lazy dog, and nobody knows why. " * 20)
        return {"calibration": text}


class TestGgufToHuggingface(ConverterSuite):
    plugin = "modelmill_gguf"
    name = "gguf-to-huggingface"

    def make_source(self, folder: Path) -> None:
        convert("modelmill_gguf", "huggingface-to-gguf", "F16", make_checkpoint(folder.parent / "hf", "llama"), folder)


class TestHuggingfaceToMlx(ConverterSuite):
    plugin = "modelmill_mlx"
    name = "huggingface-to-mlx"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama")


class TestGguf(FormatSuite):
    plugin = "modelmill_gguf"
    name = "gguf"

    def make_sample(self, folder: Path) -> None:
        convert("modelmill_gguf", "huggingface-to-gguf", "F16", make_checkpoint(folder.parent / "hf", "llama"), folder)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        for path in folder.glob("*.gguf"):
            content, header = path.read_bytes(), read_header(path)
            yield path, range(24)  # magic, version, numbers of tensors and of metadata
            for name in [*header.fields, *(tensor.name for tensor in header.tensors)]:
                start = content.index(struct.pack("<Q", len(name)) + name.encode())
                # Its length, itself, and a field's type or a tensor's number of dimensions; of a number in the
                # metadata nobody can tell which one is right.
                yield path, range(start, start + 8 + len(name) + 4, 5)


class TestHuggingface(FormatSuite):
    plugin = "modelmill_huggingface"
    name = "huggingface"

    def make_sample(self, folder: Path) -> None:
        make_checkpoint(folder, "qwen3", shards=2)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield from structure(folder, 9)


class TestMlx(FormatSuite):
    plugin = "modelmill_mlx"
    name = "mlx"

    def make_sample(self, folder: Path) -> None:
        convert("modelmill_mlx", "huggingface-to-mlx", "4bit", make_checkpoint(folder.parent / "hf", "llama"), folder)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield from structure(folder, 19)


class TestPath(SourceSuite):
    plugin = "modelmill_sources"
    name = "path"

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        make_checkpoint(folder / "model", "llama")
        files = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
        return Location(uri="model", revision=None, base=folder), files


class TestText(FormatSuite):
    plugin = "modelmill_huggingface"
    name = "text"
    knows_its_length = False

    def make_sample(self, folder: Path) -> None:
        (folder / "words.txt").write_text("To be or not to be, that is the question.\n" * 20)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "words.txt", range(80)  # any byte that is not UTF-8


class TestHardware(HardwareSuite):
    plugin = "modelmill_targets"


class TestPemSigner(SignerSuite):
    plugin = "modelmill_signers"
    scheme = "file"

    def make_key(self, folder: Path) -> str:
        create.new(folder / "key.pem")
        return "key.pem"


class TestKeyInTheEnvironment(SignerSuite):
    plugin = "modelmill_signers"
    scheme = "env"

    @pytest.fixture(autouse=True)
    def key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        create.new(tmp_path / "key.pem")
        monkeypatch.setenv("MODELMILL_TEST_KEY", (tmp_path / "key.pem").read_text())

    def make_key(self, folder: Path) -> str:
        del folder
        return "MODELMILL_TEST_KEY"


class TestModelpack(PackagerSuite):
    plugin = "modelmill_oci"
    name = "modelpack"


class TestDockerModelRunner(PackagerSuite):
    plugin = "modelmill_oci"
    name = "docker-model-runner"

    def make_artifact(self, folder: Path) -> None:
        convert("modelmill_gguf", "huggingface-to-gguf", "F16", make_checkpoint(folder.parent / "hf", "llama"), folder)
        make_artifact(folder)


class TestImage(TestDockerModelRunner):
    name = "image"


class TestDocker(TestDockerModelRunner):
    name = "docker"


class Deployment(PackagerSuite):
    plugin = "modelmill_oci"
    options: ClassVar[Mapping[str, Any]] = {"image": "r.example/team/tiny@sha256:" + "0" * 64}
    hardware: ClassVar[Mapping[str, Any]] = {
        "name": "x86-64-v3",
        "os.family": "linux",
        "os.arch": "amd64",
        "cpu.cores": 4,
        "memory.budget_mib": 6144,
        "workload.context": 2048,
    }
    memory = 300 << 20


class TestKubernetes(Deployment):
    name = "kubernetes"


class TestCompose(Deployment):
    name = "compose"


class TestQuadlet(Deployment):
    name = "quadlet"


SUITES = {
    "ConverterSuite": "converters",
    "QuantizerSuite": "quantizers",
    "FormatSuite": "formats",
    "SourceSuite": "sources",
    "PackagerSuite": "packagers",
    "RemoteSuite": "remotes",
    "SignerSuite": "signers",
}
INSTALLED = registry.load()
BUILT_IN = [
    (hook, name)
    for hook in registry.RECORDS
    for name, offers in getattr(INSTALLED, hook).found.items()
    if any(offer.plugin.distribution == "modelmill" for offer in offers)
]


ELSEWHERE = {
    ("sources", "gs"): "sources/test_filesystems.py",
    ("sources", "az"): "sources/test_filesystems.py",
    ("sources", "abfs"): "sources/test_filesystems.py",
}
"""`s3` under other schemes, whose client libraries these tests do without: the tests of what is told then."""


@functools.cache
def tried() -> set[tuple[str, str]]:
    """Every hook and name that some test class in these tests tries with the suite for it."""
    found = set()
    for path in Path(__file__).parent.rglob("test_*.py"):
        kinds = dict(SUITES)
        for suite in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(suite, ast.ClassDef):
                continue
            bases = [base.id for base in suite.bases if isinstance(base, ast.Name) and base.id in kinds]
            if not bases:
                continue
            kinds[suite.name] = kinds[bases[0]]
            if not suite.name.startswith("Test"):
                continue
            found |= {
                (kinds[suite.name], ast.literal_eval(line.value))
                for line in suite.body
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) in {"name", "scheme"}
            }
    return found


@pytest.mark.parametrize(("hook", "name"), BUILT_IN, ids=[f"{hook}-{name}" for hook, name in BUILT_IN])
def test_everything_that_is_built_in_passes_the_kit_or_has_tests_of_its_own(hook: str, name: str) -> None:
    if hook == "hardware":  # the suite tries all that a plugin has
        (offer,) = INSTALLED.hardware.found[name]
        assert offer.plugin.module == TestHardware.plugin
    elif (hook, name) in ELSEWHERE:
        assert (hook, name) not in tried(), "a suite tries it: take it out of ELSEWHERE"
        assert f'"{name}"' in (Path(__file__).parent / ELSEWHERE[hook, name]).read_text()
    else:
        assert (hook, name) in tried()


def test_nothing_is_listed_that_is_not_there() -> None:
    assert set(ELSEWHERE) <= set(BUILT_IN)
