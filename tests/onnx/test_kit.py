"""The conformance kit on what the ONNX plugin offers."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from onnx_parts.encoders import make_onnx_encoder
from onnx_parts.folders import build, contents, quantize

from modelmill import Facts
from modelmill.testing import ConverterSuite, FormatSuite, QuantizerSuite
from modelmill.testing.bench import Bench
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
    """With a calibration text, where the record's own choice is GPTQ."""

    plugin = "modelmill_onnx"
    name = "onnx-quantize"
    options: ClassVar[Mapping[str, Any]] = {"calibration_chunks": 2}

    def make_source(self, folder: Path) -> None:
        made = build(make_checkpoint(folder.parent / "checkpoint", "qwen2"), folder.parent / "built")
        for path in made.iterdir():
            path.rename(folder / path.name)

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        text = folder / "text"
        text.mkdir()
        (text / "words.txt").write_text(" ".join(f"word {number} of the text" for number in range(3000)))
        return {"calibration": text}

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        same_kind(inferred, found)

    @pytest.mark.parametrize("text", [b"too short", b"\xff" * 9000], ids=["short", "not UTF-8"])
    def test_a_bad_text_is_refused(self, bench: Bench, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "words.txt").write_bytes(text)
        run = bench.run(replace(bench.job("int4"), inputs={"calibration": tmp_path}))
        assert run.outcome.event == "refused"
        assert "the calibration text" in run.outcome.message

    def test_a_text_leads_to_gptq(self, bench: Bench) -> None:
        named = bench.well(bench.run(bench.job("int4", options={"algorithm": "gptq"})), "gptq")
        assert contents(bench.result("int4").out) == contents(named.out)


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
