from collections.abc import Iterator, Mapping
from pathlib import Path

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


def test_every_converter_and_quantizer_that_is_built_in_is_tried() -> None:
    tried = {(suite.kind, suite.name) for suite in (*ConverterSuite.__subclasses__(), *QuantizerSuite.__subclasses__())}
    built_in = {
        (kind, offer.record.name)
        for kind, offer in registry.load().makers()
        if offer.plugin.distribution == "modelmill"
    }
    assert built_in - tried == set()
