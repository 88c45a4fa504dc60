import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

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
from modelmill_signers import create


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
            yield path, range(24)  # magic, version, numbers of tensors and of metadata


class TestHuggingface(FormatSuite):
    plugin = "modelmill_huggingface"
    name = "huggingface"

    def make_sample(self, folder: Path) -> None:
        make_checkpoint(folder, "qwen3", shards=2)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        for path in folder.glob("*.safetensors"):
            yield path, range(9)  # the header's length, and its first character


class TestMlx(FormatSuite):
    plugin = "modelmill_mlx"
    name = "mlx"

    def make_sample(self, folder: Path) -> None:
        convert("modelmill_mlx", "huggingface-to-mlx", "4bit", make_checkpoint(folder.parent / "hf", "llama"), folder)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        for path in folder.glob("*.safetensors"):
            yield path, range(9)


class TestPath(SourceSuite):
    plugin = "modelmill_sources"
    name = "path"

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        make_checkpoint(folder / "model", "llama")
        files = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
        return Location(uri="model", revision=None, base=folder), files


class TestHardware(HardwareSuite):
    plugin = "modelmill_targets"


class TestPemSigner(SignerSuite):
    plugin = "modelmill_signers"
    scheme = "file"

    def make_key(self, folder: Path) -> str:
        create.new(folder / "key.pem")
        return "key.pem"


class TestModelpack(PackagerSuite):
    plugin = "modelmill_oci"
    name = "modelpack"


class TestDockerModelRunner(PackagerSuite):
    plugin = "modelmill_oci"
    name = "docker-model-runner"

    def make_artifact(self, folder: Path) -> None:
        convert("modelmill_gguf", "huggingface-to-gguf", "F16", make_checkpoint(folder.parent / "hf", "llama"), folder)
        make_artifact(folder)


def test_every_converter_and_quantizer_that_is_built_in_is_tried_by_some_test() -> None:
    offers = [offer for _, offer in registry.load().makers() if offer.plugin.distribution == "modelmill"]
    tried: set[str] = set()
    for path in Path(__file__).parent.rglob("test_*.py"):
        for suite in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(suite, ast.ClassDef) and suite.name.startswith("Test") and suite.bases:
                tried |= {
                    ast.literal_eval(line.value)
                    for line in suite.body
                    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "name"
                }
    assert {offer.record.name for offer in offers} - tried == set()
