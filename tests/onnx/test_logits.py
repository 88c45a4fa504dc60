"""Tiny checkpoints: the graph computes what transformers computes, and the integers stay near it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_parts.folders import build, logits, quantize
from onnx_parts.models import make_model

from modelmill import Facts, Outlook
from modelmill.checkpoint import facts
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_onnx.architectures import BUILDABLE
from modelmill_onnx.foretold import as_tensors, foretell
from modelmill_onnx.graph import read_graph
from modelmill_onnx.offers import FROM_HUGGINGFACE
from modelmill_onnx.options import BuildOptions
from modelmill_onnx.rewrite import find_matrices

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own
IDS = list(range(5, 45))


def reference(source: Path) -> Any:
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


def matrices(made: Path) -> list[tuple[str, tuple[int, ...]]]:
    model = onnx.load(str(made / "model.onnx"), load_external_data=False)
    return [(matrix.name, matrix.shape) for matrix in find_matrices(model.graph)]


def foretold(source: Path, provider: str = "cpu") -> list[tuple[str, tuple[int, ...]]]:
    return [(tensor.name, tensor.shape) for tensor in as_tensors(foretell(facts(source), provider) or [])]


LAYERS = {"gemma3": 6}
"""Where the last layer is of another kind than those before it: Gemma 3's sixth looks at all positions."""
CLASSES: dict[str, dict[str, Any]] = {
    "Ernie4_5ForCausalLM": {"head_dim": 32},
    "Gemma2ForCausalLM": {"head_dim": 32, "query_pre_attn_scalar": 48, "sliding_window": 24},
    "GemmaForCausalLM": {"head_dim": 32},
    "GraniteForCausalLM": {"embedding_multiplier": 3.0, "logits_scaling": 2.0, "residual_multiplier": 0.5},
    "HunYuanDenseV1ForCausalLM": {"head_dim": 32},
    "NemotronForCausalLM": {"head_dim": 32},
    "OlmoForCausalLM": {},
    "PhiForCausalLM": {},
}


def close(name: str, found: Any, wanted: Any) -> None:
    difference, largest = float(np.abs(found - wanted).max()), float(np.abs(wanted).max())
    print(f"{name}: logits of up to {largest:.2f} differ by at most {difference:.1e}")
    assert difference < 5e-6 * largest


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "smollm3"])
def test_fp32_logits_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    source = make_checkpoint(tmp_path / "source", name, shape=Shape(hidden=96, layers=LAYERS.get(name, 4), heads=6))
    made = build(source, tmp_path / "onnx")
    close(name, logits(made, IDS), reference(source))
    assert matrices(made) == foretold(source)


@pytest.mark.parametrize("name", CLASSES)
def test_fp32_logits_are_those_of_other_classes_too(tmp_path: Path, name: str) -> None:
    source = make_model(tmp_path / "source", name, **CLASSES[name])
    assert isinstance(
        FROM_HUGGINGFACE.infer(Outlook(facts=facts(source), scheme="fp32", options=BuildOptions())), Facts
    )
    made = build(source, tmp_path / "onnx")
    close(name, logits(made, IDS), reference(source))
    assert matrices(made) == foretold(source)


@pytest.mark.parametrize("provider", ["cuda", "dml", "webgpu"])
@pytest.mark.parametrize("name", ["llama", "phi3"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_matrices_are_foretold_for_every_provider(tmp_path: Path, name: str, provider: str, tied: bool) -> None:  # noqa: FBT001
    source = make_checkpoint(tmp_path / "source", name, config={"tie_word_embeddings": tied})
    made = build(source, tmp_path / "onnx", "fp16", execution_provider=provider)
    assert matrices(made) == foretold(source, provider)


LINEAR = {"rope_type": "linear", "factor": 4.0}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1.0 + part / 4 for part in range(8)]}


@pytest.mark.parametrize(("name", "rope"), [("llama", LINEAR), ("smollm3", LINEAR), ("qwen2", LINEAR), ("phi3", LONG)])
def test_scaled_rotary_embeddings_are_those_of_transformers(tmp_path: Path, name: str, rope: dict[str, Any]) -> None:
    config = {"rope_scaling": rope, "original_max_position_embeddings": 24} if rope is LONG else {"rope_scaling": rope}
    source = make_checkpoint(tmp_path / "source", name, config=config)
    close(name, logits(build(source, tmp_path / "onnx"), IDS), reference(source))


def test_every_class_that_can_be_built_is_compared() -> None:
    known = {"Llama", "Mistral", "Qwen2", "Qwen3", "Gemma3", "Phi3", "SmolLM3"}
    assert {f"{name}ForCausalLM" for name in known} | CLASSES.keys() == set(BUILDABLE)


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


@pytest.mark.parametrize("block_size", [32, 64])
def test_the_builders_int4_with_zero_points_shares_the_embedding(tmp_path: Path, block_size: int) -> None:
    source = make_checkpoint(tmp_path / "source", "llama", shape=Shape(hidden=96, heads=6, tied=True))
    made = build(source, tmp_path / "made", "int4-builder", block_size=block_size, symmetric=False, accuracy_level=1)
    graph = read_graph(made / "model.onnx")
    (lookup,) = (operator for operator in graph.operators if operator.type == "GatherBlockQuantized")
    (product,) = (operator for operator in graph.operators if operator.outputs == ("logits",))
    assert lookup.inputs[2:] == product.inputs[2:4]
    found, wanted = logits(made, IDS), logits(build(source, tmp_path / "onnx"), IDS)
    assert 0 < np.abs(found - wanted).mean() < 0.35 * np.abs(wanted).mean()
