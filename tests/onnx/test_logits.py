"""Tiny checkpoints: the graph computes what transformers computes, and the integers stay near it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_parts.folders import build, logits, quantize

from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own
IDS = list(range(5, 45))


def reference(source: Path) -> Any:
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


LAYERS = {"gemma3": 6}
"""Where the last layer is of another kind than those before it: Gemma 3's sixth looks at all positions."""


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "smollm3"])
def test_fp32_logits_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    source = make_checkpoint(tmp_path / "source", name, shape=Shape(layers=LAYERS.get(name, 4)))
    found, wanted = logits(build(source, tmp_path / "onnx"), IDS), reference(source)
    difference = np.abs(found - wanted).max() / np.abs(wanted).max()
    print(f"{name}: logits differ by {difference:.1e} of the largest")
    assert difference < 5e-6


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tied")
    source = make_checkpoint(folder / "source", "llama", config={"tie_word_embeddings": True})
    return build(source, folder / "onnx")


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untied")
    return build(make_checkpoint(folder / "source", "phi3"), folder / "onnx")


@pytest.mark.parametrize("grid", ["symmetric", "with zero points"])
@pytest.mark.parametrize("block_size", [16, 64, 128])
@pytest.mark.parametrize("algorithm", ["rtn", "mse"])
def test_int8_stays_near_the_source_on_every_grid(
    tmp_path: Path, tied: Path, algorithm: str, block_size: int, grid: str
) -> None:
    options: dict[str, Any] = {
        "algorithm": algorithm,
        "block_size": block_size,
        "symmetric": grid == "symmetric",
        "accuracy_level": 1,
    }
    made = quantize(tied, tmp_path / "made", "int8", **options)
    found, wanted = logits(made, IDS), logits(tied, IDS)
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("algorithm", ["rtn", "mse", "hqq", "k_quant", "importance", "gptq"])
@pytest.mark.parametrize("model", ["tied", "untied"])
def test_every_algorithm_stays_near_the_source(
    tmp_path: Path, request: pytest.FixtureRequest, model: str, algorithm: str
) -> None:
    source: Path = request.getfixturevalue(model)
    text = tmp_path / "text"
    text.mkdir()
    (text / "text.txt").write_text(" ".join(f"word {number} of the text" for number in range(3000)))
    made = quantize(source, tmp_path / "made", algorithm=algorithm, calibration=text, calibration_chunks=2)
    found, wanted = logits(made, IDS), logits(source, IDS)
    # GPTQ fits the calibration text, which is not like these tokens; unrelated logits would differ by 1.4.
    bound = 0.6 if algorithm == "gptq" else 0.35
    assert 0 < np.abs(found - wanted).mean() < bound * np.abs(wanted).mean()
