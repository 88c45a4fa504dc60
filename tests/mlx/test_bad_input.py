"""What cannot be converted is refused before the work starts, in one sentence that says what would work."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlx_parts.folders import contents, convert, infer

from modelmill import ConvertError, Refusal
from modelmill.recipe import Keep, Recipe
from modelmill.testing.checkpoints import make_checkpoint, safetensors


def config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        found = json.loads((folder / "config.json").read_text())
        kept = {key: value for key, value in {**found, **values}.items() if value is not ...}
        (folder / "config.json").write_text(json.dumps(kept))

    return change


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (config(model_type="mamba"), "does not know the model_type 'mamba'; it knows gemma"),
        (config(model_type=None), "does not know the model_type None"),
        (config(num_hidden_layers=3), "no tensor 'model.layers.2.self_attn.q_proj.weight'"),
        (config(num_hidden_layers=1), "tensor 'model.layers.1.*' has no place in mlx-lm's model for llama"),
        (config(num_hidden_layers="two"), "num_hidden_layers is 'two', not a number of layers"),
        (config(num_attention_heads=0), "num_attention_heads is 0, not a whole number above 0"),
        (config(num_attention_heads="4"), "num_attention_heads is '4', not a whole number above 0"),
        (config(num_attention_heads=None), "num_attention_heads is None, not a whole number above 0"),
        (config(rope_scaling="linear"), "rope_scaling is 'linear', not a table"),
        (config(rope_scaling={"type": "odd"}), "of the type 'odd', which mlx-lm does not know for llama; it knows def"),
        (config(rope_scaling={"rope_type": ["yarn"]}), r"of the type \['yarn'\], which mlx-lm does not know"),
        (config(rope_scaling={"rope_type": "llama3"}), "of type 'llama3' has no factor"),
        (config(rope_scaling={"rope_type": "linear", "factor": 0}), "factor is 0, not a number above 0"),
        (
            config(rope_parameters={"full_attention": 8}, rope_theta=...),
            "full_attention in rope_parameters is 8, not a",
        ),
        (config(hidden_size=96), "where config.json asks for .* x 96"),
        (config(attention_bias=True), "no tensor 'model.layers.0.self_attn.q_proj.bias'"),
        (config(quantization_config={"quant_method": "awq"}), r"quantized already \(awq\)"),
        (config(quantization={"bits": 4, "group_size": 64}), r"quantized already \(MLX's\)"),
        (no_tokenizer, "has no tokenizer"),
    ],
)
def test_a_checkpoint_that_does_not_fit(tmp_path: Path, change: Callable[[Path], None], sentence: str) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    change(source)
    refused(source, tmp_path, sentence)


@pytest.mark.parametrize(
    ("architecture", "rope"),
    [
        ("llama", {"rope_scaling": {"rope_type": "odd"}}),
        ("qwen3", {"rope_scaling": None, "rope_parameters": {"rope_type": "odd", "rope_theta": 1e4}}),
        ("phi3", {"rope_scaling": {"rope_type": "longrope", "long_factor": [1.0] * 8, "short_factor": [1.0] * 8}}),
    ],
)
def test_a_rotary_embedding_that_mlx_lm_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, rope: dict[str, Any]
) -> None:
    from mlx_lm import load

    source = make_checkpoint(tmp_path / "source", architecture)
    config(**rope)(source)
    refused(source, tmp_path, "the rotary embedding is of the type")
    # That this is no whim of ours: built all the same, mlx-lm refuses it.
    monkeypatch.setattr("modelmill_mlx.layout.require_known_rope", lambda architecture, config: None)  # noqa: ARG005
    with pytest.raises(ValueError, match=r"RoPE type odd|rope_scaling must contain"):
        load(str(convert(source, tmp_path / "made", "bf16")))


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_buffers_that_old_versions_of_transformers_saved_are_left_out(tmp_path: Path, architecture: str) -> None:
    source = make_checkpoint(tmp_path / "source", architecture)
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    (source / "model.safetensors").write_bytes(safetensors({**contents(source), name: ("F32", (4,), bytes(16))}))
    assert name not in contents(convert(source, tmp_path, "bf16"))


@pytest.mark.parametrize(
    ("scheme", "options", "sentence"),
    [
        ("mxfp4", {"group_size": 64}, "'mxfp4' has groups of 32 values, not 64"),
        ("bf16", {"group_size": 64}, "'bf16' quantizes nothing"),
        ("bf16", {"dtype": "float16"}, "'bf16' is bfloat16 throughout"),
        ("4bit", {"recipe": Recipe(default="Q4_K")}, "the type 'Q4_K'; MLX has 2bit"),
        ("4bit", {"recipe": Recipe(extends="Q4_K_M")}, "extends 'Q4_K_M'; the MLX converter has mixed_2_6"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, scheme: str, options: dict[str, Any], sentence: str) -> None:
    refused(make_checkpoint(tmp_path / "source", "llama"), tmp_path, sentence, scheme, **options)


def test_a_recipe_that_keeps_every_layer(tmp_path: Path) -> None:
    keep = Recipe(keep=(Keep(tensors=(".",)),))
    refusal = infer(make_checkpoint(tmp_path / "source", "llama"), "4bit", group_size=32, recipe=keep)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "4bit would quantize nothing: the recipe keeps them; use the scheme bf16"


def refused(source: Path, tmp_path: Path, sentence: str, scheme: str = "4bit", **options: Any) -> None:
    refusal = infer(source, scheme, **options)
    assert isinstance(refusal, Refusal)
    with pytest.raises(Exception, match=sentence) as caught:
        convert(source, tmp_path, scheme, **options)
    assert str(caught.value) == refusal.reason
    assert "\n" not in refusal.reason
    assert list((tmp_path / "out").iterdir()) == []


def test_truncated_weights(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    data = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConvertError, match="cut short"):
        convert(source, tmp_path, "4bit")


BROKEN = {"F32": b"\x00\x00\x80\xff", "F16": b"\x00\x7e", "BF16": b"\x80\x7f"}


def end_with(source: Path, name: str, value: bytes) -> None:
    """Put a value at the end of a tensor."""
    tensors = dict(contents(source))
    dtype, shape, data = tensors[name]
    tensors[name] = (dtype, shape, data[: -len(value)] + value)
    (source / "model.safetensors").write_bytes(safetensors(tensors))


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
@pytest.mark.parametrize(
    ("dtype", "scheme"), [("BF16", "4bit"), ("BF16", "mxfp4"), ("F32", "2bit"), ("F32", "bf16"), ("F16", "f16")]
)
def test_weights_that_are_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, scheme: str, name: str
) -> None:
    monkeypatch.setattr("modelmill_mlx.finite.PIECE_BYTES", 100)
    source = make_checkpoint(tmp_path / "source", "llama", dtype=dtype)
    end_with(source, name, BROKEN[dtype])
    with pytest.raises(ConvertError, match=f"^tensor '{name}' holds values that are NaN or infinite: the checkp"):
        convert(source, tmp_path, scheme, group_size=None)


# In each pair of dtypes, the largest value that the narrower one rounds to a finite number, and the next one.
EDGES = {
    ("F32", "float16"): (b"\xff\xef\x7f\xc7", b"\x00\xf0\x7f\xc7"),
    ("BF16", "float16"): (b"\x7f\x47", b"\x80\x47"),
    ("F32", "bfloat16"): (b"\xff\x7f\x7f\x7f", b"\x00\x80\x7f\x7f"),
}


@pytest.mark.parametrize(("dtype", "asked"), EDGES)
def test_weights_beyond_the_dtype_asked_for(tmp_path: Path, dtype: str, asked: str) -> None:
    import mlx.core as mx

    fits, beyond = EDGES[dtype, asked]
    name = "model.norm.weight"
    source = make_checkpoint(tmp_path / "source", "llama", dtype=dtype)
    end_with(source, name, fits)
    made = convert(source, tmp_path / "fits", "4bit", group_size=32, dtype=asked)
    loaded: Any = mx.load(str(made / "model.safetensors"))
    assert mx.isfinite(loaded[name]).all()
    end_with(source, name, beyond)
    loaded = mx.load(str(source / "model.safetensors"))
    cast = loaded[name].astype(getattr(mx, asked), stream=mx.cpu)
    assert not mx.isfinite(cast, stream=mx.cpu).all(stream=mx.cpu)
    with pytest.raises(ConvertError, match=f"tensor '{name}' has values beyond the range of .*16; ask for .*float32"):
        convert(source, tmp_path / "beyond", "4bit", group_size=32, dtype=asked)
    convert(source, tmp_path / "wider", "4bit", group_size=32, dtype="float32")


def test_a_machine_where_mlx_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    monkeypatch.delitem(sys.modules, "modelmill_mlx.kernel", raising=False)
    with pytest.raises(
        ConvertError, match="MLX does not run on this machine: it has wheels for macOS on Apple silicon"
    ):
        convert(source, tmp_path, "4bit")
