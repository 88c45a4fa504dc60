import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kit_use import tried, tried_in

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

LARGE = Shape(hidden=1024, intermediate=8192, heads=8)
"""A hundred megabytes of weights."""


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

    def make_large_source(self, folder: Path) -> bool:
        make_checkpoint(folder, "llama", shape=LARGE)
        return True


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
    varied = 5

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama", shape=Shape(hidden=128, intermediate=160))  # groups of 128 fit some of it

    def make_large_source(self, folder: Path) -> bool:
        make_checkpoint(folder, "llama", shape=LARGE)
        return True


class TestGguf(FormatSuite):
    plugin = "modelmill_gguf"
    name = "gguf"

    def make_sample(self, folder: Path) -> None:
        convert("modelmill_gguf", "huggingface-to-gguf", "F16", make_checkpoint(folder.parent / "hf", "llama"), folder)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        for path in folder.glob("*.gguf"):
            content, header = path.read_bytes(), read_header(path)
            yield path, range(24)  # magic, version, numbers of tensors and of metadata
            # A name's length, itself, and a field's type, or a tensor's dimensions, type and place. Of a number in the
            # metadata nobody can tell which one is right, nor of the last tensor's size, behind which nothing lies.
            more = {tensor.name: 4 + 8 * len(tensor.shape) + 4 + 8 for tensor in header.tensors[:-1]}
            for name in [*header.fields, *more]:
                start = content.index(struct.pack("<Q", len(name)) + name.encode())
                yield path, range(start, start + 8 + len(name) + more.get(name, 4), 5)


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


GATED = {
    "the module, by a variable": """
import os, pytest
pytestmark = pytest.mark.skipif("MODELMILL_TEST_GEMMA" not in os.environ, reason="not set")
class TestIt(SourceSuite):
    name = "it"
""",
    "the module, before its tests": """
import os, pytest
if "MODELMILL_TEST_GEMMA" not in os.environ:
    pytest.skip("not set", allow_module_level=True)
class TestIt(SourceSuite):
    name = "it"
""",
    "the class, by a mark with a name": """
SLOW = pytest.mark.skipif(not os.environ.get("MODELMILL_TEST_SLOW"), reason="not set")
@SLOW
class TestIt(SourceSuite):
    name = "it"
""",
    "the class that it inherits from": """
class Slow(SourceSuite):
    pytestmark = pytest.mark.skip
class TestIt(Slow):
    name = "it"
""",
    "nothing that pytest would collect": """
class It(SourceSuite):
    name = "it"
""",
}
COUNTED = {
    "it": "class TestIt(SourceSuite):\n    name = 'it'\n",
    "one that inherits": "class Base(SourceSuite):\n    pass\nclass TestIt(Base):\n    name = 'it'\n",
    "what every run sets": (
        "pytestmark = pytest.mark.skipif('MODELMILL_TEST_TOOLCHAINS' not in os.environ, reason='not set')\n"
        "class TestIt(SourceSuite):\n    name = 'it'\n"
    ),
    "a program that is looked for": (
        "@pytest.mark.skipif(shutil.which('opensc') is None, reason='missing')\n"
        "class TestIt(SourceSuite):\n    name = 'it'\n"
    ),
}


@pytest.mark.parametrize("case", GATED)
def test_a_class_that_not_every_run_tries_tries_nothing(case: str) -> None:
    assert set(tried_in(GATED[case])) == set()


@pytest.mark.parametrize("case", COUNTED)
def test_any_other_tries_its_record(case: str) -> None:
    assert set(tried_in(COUNTED[case])) == {("sources", "it")}


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
