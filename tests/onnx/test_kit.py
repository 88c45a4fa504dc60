"""The conformance kit on what the ONNX plugin offers."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest
from onnx_parts.encoders import make_onnx_encoder
from onnx_parts.folders import build, quantize

from modelmill import Facts
from modelmill.testing import ConverterSuite, FormatSuite, QuantizerSuite
from modelmill.testing.checkpoints import make_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own


def same_kind(inferred: Facts, found: Facts) -> None:
    """The graph's tensors are the builder's business and not predicted; format, scheme and architecture are."""
    assert (inferred.format, inferred.scheme, inferred.architecture) == (found.format, found.scheme, found.architecture)


class TestFromHuggingFace(ConverterSuite):
    plugin = "modelmill_onnx"
    name = "huggingface-to-onnx"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "qwen2")

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        same_kind(inferred, found)


class TestFromHuggingFaceInt4(TestFromHuggingFace):
    name = "huggingface-to-onnx-int4"


class TestQuantize(QuantizerSuite):
    plugin = "modelmill_onnx"
    name = "onnx-quantize"
    text: ClassVar[str] = " ".join(f"word {number} of the text" for number in range(8000))

    def make_source(self, folder: Path) -> None:
        made = build(make_checkpoint(folder.parent / "checkpoint", "qwen2"), folder.parent / "built")
        for path in made.iterdir():
            path.rename(folder / path.name)

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        same_kind(inferred, found)


class TestQuantizeDynamic(QuantizerSuite):
    plugin = "modelmill_onnx"
    name = "onnx-dynamic"

    def make_source(self, folder: Path) -> None:
        make_onnx_encoder(folder)

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        same_kind(inferred, found)


class TestFormat(FormatSuite):
    plugin = "modelmill_onnx"
    name = "onnx"

    @pytest.fixture(scope="class")
    def made(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("format")
        source = build(make_checkpoint(folder / "source", "llama"), folder / "onnx")
        return quantize(source, folder / "quantized")

    @pytest.fixture
    def sample(self, made: Path, tmp_path: Path) -> Path:
        import shutil

        return Path(shutil.copytree(made, tmp_path / "sample"))

    def structure(self, folder: Path) -> Iterable[tuple[Path, range]]:
        yield folder / "model.onnx", range(1)
        yield folder / "genai_config.json", range(1)
        yield folder / "tokenizer.json", range(1)
