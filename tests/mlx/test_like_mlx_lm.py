"""Folders equal to what mlx-lm's own converter writes: config.json and index byte for byte, tensors bit for bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlx_parts.folders import assert_same_model, contents, convert, infer, reference, transformers_checkpoint

from modelmill import Facts
from modelmill.recipe import Recipe
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_mlx import offers

pytest.importorskip("mlx_lm", reason="mlx-lm is the reference")
pytestmark = pytest.mark.filterwarnings("ignore")  # mlx-lm's and transformers' own

QUANTIZE: dict[str, dict[str, Any]] = {
    **{f"{bits}bit": {"quantize": True, "q_bits": bits} for bits in (2, 3, 4, 5, 6, 8)},
    "mxfp4": {"quantize": True, "q_mode": "mxfp4"},
}
FLOATS = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
WIDE = Shape(hidden=128, intermediate=256, layers=3, heads=4, kv_heads=2)


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "smollm3"])
@pytest.mark.parametrize("scheme", ["4bit", "mixed_3_6"])
def test_every_architecture(tmp_path: Path, name: str, scheme: str) -> None:
    source = make_checkpoint(tmp_path / "source", name, shape=Shape(hidden=64, intermediate=160))
    arguments: dict[str, Any] = {"quantize": True, "q_group_size": 32}
    if scheme == "mixed_3_6":
        arguments["quant_predicate"] = scheme
    expected = reference(source, tmp_path / "reference", **arguments)
    assert_same_model(convert(source, tmp_path, scheme, group_size=32), expected)


CONFIGS: dict[str, dict[str, Any]] = {
    "Gemma": {"head_dim": 32},
    "Gemma2": {"head_dim": 32},
    "Granite": {"attention_bias": True},
    "Olmo2": {},
    "Starcoder2": {},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_architectures_as_transformers_writes_them(tmp_path: Path, name: str) -> None:
    source = transformers_checkpoint(tmp_path, name, **CONFIGS[name])
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "rope_theta": 10000.0}))  # as published checkpoints do
    expected = reference(source, tmp_path / "reference", quantize=True, q_bits=4)
    assert_same_model(convert(source, tmp_path, "4bit"), expected)


@pytest.mark.parametrize(
    ("scheme", "group_size"),
    [(scheme, size) for scheme in QUANTIZE for size in (32, 64, 128, None) if scheme != "mxfp4" or size in (32, None)],
)
def test_every_scheme_and_group_size(tmp_path: Path, scheme: str, group_size: int | None) -> None:
    source = make_checkpoint(tmp_path / "source", "llama", shape=WIDE)
    expected = reference(source, tmp_path / "reference", q_group_size=group_size, **QUANTIZE[scheme])
    assert_same_model(convert(source, tmp_path, scheme, group_size=group_size, threads=2), expected)


@pytest.mark.parametrize("recipe", ["mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"])
@pytest.mark.parametrize("layers", [2, 17])
def test_named_recipes(tmp_path: Path, recipe: str, layers: int) -> None:
    shape = Shape(hidden=64, intermediate=128, layers=layers, tied=False)
    source = make_checkpoint(tmp_path / "source", "llama", shape=shape)
    expected = reference(source, tmp_path / "reference", quantize=True, q_group_size=64, quant_predicate=recipe)
    assert_same_model(convert(source, tmp_path, recipe), expected)


@pytest.mark.parametrize("recipe", ["mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"])
@pytest.mark.parametrize(
    ("shape", "group_size", "kept"),
    [
        (Shape(hidden=128, intermediate=256, layers=9), 128, 0),
        (Shape(hidden=64, intermediate=160, layers=9), 64, 9),
        (Shape(hidden=128, intermediate=192, layers=9, tied=False), 128, 9),
    ],
)
def test_named_recipes_in_other_groups_and_beside_widths_that_none_divides(
    tmp_path: Path, recipe: str, shape: Shape, group_size: int, kept: int
) -> None:
    source = make_checkpoint(tmp_path / "source", "llama", shape=shape)
    expected = reference(source, tmp_path / "reference", quantize=True, q_group_size=group_size, quant_predicate=recipe)
    made = convert(source, tmp_path, recipe, group_size=group_size)
    assert_same_model(made, expected)
    offers.FORMAT.validate(made)
    floats = [name for name, (dtype, _, _) in contents(made).items() if name.endswith("proj.weight") and dtype != "U32"]
    assert len(floats) == kept


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("scheme", FLOATS)
def test_floats_from_floats(tmp_path: Path, scheme: str, dtype: str) -> None:
    source = make_checkpoint(tmp_path / "source", "qwen3", dtype=dtype)
    expected = reference(source, tmp_path / "reference", dtype=FLOATS[scheme])
    assert_same_model(convert(source, tmp_path, scheme), expected)


@pytest.mark.parametrize("source_dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_scales_have_the_dtype_asked_for(tmp_path: Path, source_dtype: str, dtype: str) -> None:
    source = make_checkpoint(tmp_path / "source", "llama", dtype=source_dtype)
    expected = reference(source, tmp_path / "reference", quantize=True, q_bits=4, dtype=dtype)
    assert_same_model(convert(source, tmp_path, "4bit", dtype=dtype), expected)


def test_weights_whose_width_no_group_divides(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "llama", shape=Shape(hidden=64, intermediate=160))
    expected = reference(source, tmp_path / "reference", quantize=True, q_bits=4)
    made = convert(source, tmp_path, "4bit")
    assert_same_model(made, expected)
    assert contents(made)["model.layers.0.mlp.down_proj.weight"][0] == "BF16"
    predicted = infer(source, "4bit")
    assert isinstance(predicted, Facts)
    assert predicted.details["exceptions"] == {
        "their width of 160 is no multiple of the group size 64": [
            "model.layers.0.mlp.down_proj",
            "model.layers.1.mlp.down_proj",
        ]
    }


def test_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlx_lm import utils

    class Limit:
        def __lshift__(self, _: int) -> int:
            return 60_000

    monkeypatch.setattr(utils.make_shards, "__defaults__", (Limit(),))
    monkeypatch.setattr("modelmill_mlx.files.SHARD_BYTES", 60_000)
    source = make_checkpoint(tmp_path / "source", "qwen2", shape=WIDE, shards=2)
    expected = reference(source, tmp_path / "reference", quantize=True, q_bits=4)
    made = convert(source, tmp_path, "4bit")
    assert_same_model(made, expected)
    assert len(list(made.glob("model-*-of-*.safetensors"))) > 5
    offers.FORMAT.validate(made)


def test_end_tokens_come_from_the_generation_config(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "_name_or_path": "x", "vision_config": {}}))
    expected = reference(source, tmp_path / "reference", quantize=True)
    made = convert(source, tmp_path, "4bit")
    assert_same_model(made, expected)
    assert json.loads((made / "config.json").read_text())["eos_token_id"] == [2, 7]


@pytest.mark.parametrize(
    ("name", "rope"),
    [
        ("Llama", {"rope_type": "default", "rope_theta": 700.0}),
        ("Llama", {"rope_type": "linear", "factor": 4.0, "rope_theta": 700.0}),
        ("Qwen3", {"rope_type": "default", "rope_theta": 700.0}),
        (
            "Gemma3Text",
            {
                "full_attention": {"rope_type": "default", "rope_theta": 900.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        ),
    ],
)
def test_positions_that_transformers_5_words_anew(tmp_path: Path, name: str, rope: dict[str, Any]) -> None:
    import mlx.core as mx
    import mlx_lm
    import torch
    import transformers

    more = {"sliding_window_pattern": 2, "num_hidden_layers": 4} if "Gemma" in name else {}
    source = transformers_checkpoint(tmp_path, name, head_dim=32, rope_parameters=rope, **more)
    assert "rope_theta" not in json.loads((source / "config.json").read_text())
    made = convert(source, tmp_path, "f32")
    tokens = [[1, *range(20, 60)]]
    model: Any = mlx_lm.load(str(made))[0]
    found = np.array(model(mx.array(tokens)))
    with torch.no_grad():
        expected = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)(torch.tensor(tokens))
    np.testing.assert_allclose(found, expected.logits.numpy(), atol=2e-4)


@pytest.mark.parametrize("scheme", ["4bit", "mxfp4", "mixed_2_6"])
def test_mlx_lm_generates_from_it(tmp_path: Path, scheme: str) -> None:
    import mlx_lm

    source = make_checkpoint(tmp_path / "source", "llama")
    made = convert(source, tmp_path, scheme, group_size=32)
    model, tokenizer = mlx_lm.load(str(made))[:2]
    assert isinstance(mlx_lm.generate(model, tokenizer, prompt="the", max_tokens=2), str)


def test_a_recipe_of_the_users_own(tmp_path: Path) -> None:
    import mlx_lm

    recipe = Recipe.parse(
        {
            "keep": [{"tensors": [r"embed_tokens"]}],
            "rules": [{"tensors": [r"v_proj"], "when": {"last": 1}, "type": "8bit"}],
        }
    )
    source = make_checkpoint(tmp_path / "source", "llama", shape=Shape(tied=False))
    made = convert(source, tmp_path, "4bit", group_size=32, recipe=recipe)
    offers.FORMAT.validate(made)
    dtypes = {tensor.name: tensor.dtype for tensor in offers.FORMAT.facts(made).tensors}
    assert dtypes["model.embed_tokens.weight"] == "BF16"
    assert dtypes["model.layers.0.self_attn.v_proj.weight"] == "4bit-g32"
    assert dtypes["model.layers.1.self_attn.v_proj.weight"] == "8bit-g32"
    model, tokenizer = mlx_lm.load(str(made))[:2]
    assert isinstance(mlx_lm.generate(model, tokenizer, prompt="the", max_tokens=1), str)
