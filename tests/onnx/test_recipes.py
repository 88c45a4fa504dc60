"""Mixed precision by recipe: every matrix has the bits that the rules give it, and the graph computes with them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_parts.folders import build, logits, quantize

from modelmill import Facts, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.recipe import Recipe, parse_toml
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_onnx.offers import FORMAT, FROM_HUGGINGFACE, QUANTIZE
from modelmill_onnx.options import BuildOptions, QuantizeOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own
IDS = list(range(5, 45))
RECIPE = parse_toml("""
    [[keep]]
    roles = ["attention_qkv"]
    tensors = ['attn\\.o_proj']
    when = { last = 1 }

    [[rules]]
    roles = ["lm_head"]
    type = "int8"

    [[rules]]
    roles = ["ffn_down", "attention_output"]
    when = { first = 1 }
    type = "int8"
""")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def built(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    config = {"tie_word_embeddings": request.param}
    return build(make_checkpoint(folder / "source", "llama", config=config), folder / "onnx")


def graph(folder: Path) -> onnx.ModelProto:
    return onnx.load(str(folder / "model.onnx"))


def bits(folder: Path) -> dict[str, int]:
    """Bits of every quantized matrix and table, by name."""
    found = {}
    for node in graph(folder).graph.node:
        if node.op_type in ("MatMulNBits", "GatherBlockQuantized"):
            number = next(item.i for item in node.attribute if item.name == "bits")
            at = 1 if node.op_type == "MatMulNBits" else 0
            found[node.input[at].removesuffix("_table").removesuffix(f"_Q{number}")] = number
    return found


def widened(source: Path, made: Path, out: Path) -> Path:
    """The source's graph with the values in it that the quantized folder stands for."""
    assert FORMAT.tensors is not None
    values = {data.tensor.name: data.values() for data in FORMAT.tensors(made)}
    model = graph(source)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2 and "_cache" not in tensor.name:
            value = values[tensor.name][tuple(slice(size) for size in tensor.dims)]
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
    shutil.copytree(source, out)
    onnx.save(model, str(out / "model.onnx"))
    return out


def test_every_matrix_has_the_bits_of_its_rule(tmp_path: Path, built: Path) -> None:
    made = quantize(built, tmp_path / "made", recipe=RECIPE, accuracy_level=1)
    FORMAT.validate(made)
    assert FORMAT.facts(made).scheme == "int4"
    found = bits(made)
    tied = not any("embed_tokens" in tensor.name for tensor in graph(built).graph.initializer)
    eight = [f"model.layers.0.{name}.MatMul.weight" for name in ("attn.o_proj", "mlp.down_proj")]
    assert sorted(name for name, number in found.items() if number == 8) == ["lm_head.MatMul.weight", *eight]
    assert set(found.values()) == {4, 8}
    assert ("model.embed_tokens.weight" in found) is not tied
    multiplied = [node.input[1] for node in graph(made).graph.node if node.op_type == "MatMul"]
    kept = [f"model.layers.1.attn.{name}.MatMul.weight" for name in ("qkv_proj", "o_proj")]
    assert multiplied == kept
    assert not any("layers.1.attn" in name for name in found)


def test_what_a_recipe_says_of_the_embedding_is_for_the_matrix_that_it_shares(tmp_path: Path, built: Path) -> None:
    rule = parse_toml('[[rules]]\nroles = ["embeddings"]\ntype = "int8"')
    found = bits(quantize(built, tmp_path / "made", recipe=rule))
    tied = "model.embed_tokens.weight" not in found
    eight = "lm_head.MatMul.weight" if tied else "model.embed_tokens.weight"
    assert [name for name, number in found.items() if number == 8] == [eight]
    keep = parse_toml('[[keep]]\nroles = ["embeddings"]')
    kept = bits(quantize(built, tmp_path / "kept", recipe=keep))
    assert set(found) - set(kept) == {eight}


def planned(source: Path, recipe: Recipe) -> tuple[Outlook[QuantizeOptions], Facts | Refusal]:
    """What quantizing will give, from the checkpoint alone."""
    graph = FROM_HUGGINGFACE.infer(Outlook(facts=facts(source), scheme="fp32", options=BuildOptions()))
    assert isinstance(graph, Facts)
    outlook = Outlook(facts=graph, scheme="int4", options=QuantizeOptions(recipe=recipe))
    return outlook, QUANTIZE.infer(outlook)


@pytest.mark.parametrize("tied", [True, False])
def test_the_size_that_is_told_is_that_of_the_recipe(tmp_path: Path, tied: bool) -> None:  # noqa: FBT001
    shape = Shape(hidden=256, layers=4, heads=8)
    source = make_checkpoint(tmp_path / "source", "llama", shape=shape, config={"tie_word_embeddings": tied})
    made = quantize(build(source, tmp_path / "onnx"), tmp_path / "made", recipe=RECIPE)
    outlook, found = planned(source, RECIPE)
    assert isinstance(found, Facts)
    size = sum(path.stat().st_size for path in made.iterdir())
    assert abs(QUANTIZE.estimate(outlook, found).bytes_out - size) < 0.02 * size


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            '[[rules]]\ntensors = ["gate_up"]\ntype = "int8"',
            "The rule 'gate_up' matches no tensor that the scheme quant",
        ),
        ('[[keep]]\ntensors = ["."]', "there is no matrix that the recipe quantizes; use the scheme fp32"),
    ],
)
def test_a_recipe_for_nothing_is_refused_before_the_graph_is_built(tmp_path: Path, recipe: str, said: str) -> None:
    _, found = planned(make_checkpoint(tmp_path / "source", "llama"), parse_toml(recipe))
    assert isinstance(found, Refusal)
    assert said in found.reason


def test_a_graph_that_another_plugin_foretells_is_taken_with_its_matrices_unknown(tmp_path: Path) -> None:
    outlook, _ = planned(make_checkpoint(tmp_path / "source", "llama"), RECIPE)
    foreign = replace(outlook.facts, details={"genai": True})
    assert isinstance(QUANTIZE.infer(replace(outlook, facts=foreign)), Facts)


def test_the_logits_are_those_of_the_mixed_values(tmp_path: Path, built: Path) -> None:
    wanted: Any = logits(built, IDS)
    errors = {}
    for name, recipe in (("plain", None), ("mixed", RECIPE)):
        made = quantize(built, tmp_path / name, recipe=recipe, accuracy_level=1)
        found = logits(made, IDS)
        same = logits(widened(built, made, tmp_path / f"{name}-widened"), IDS)
        assert np.abs(found - same).max() < 1e-5 * np.abs(same).max()
        errors[name] = np.abs(found - wanted).mean()
    assert 0 < errors["mixed"] < 0.85 * errors["plain"]
