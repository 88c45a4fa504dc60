"""Ternary models in MLX's 2-bit scheme: every value as it was, in mlx-lm too, where MLX's own rounding loses half."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_parts.folders import contents, convert, reference

from modelmill.checkpoint import linear_layers, open_checkpoint
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_mlx.offers import FORMAT
from modelmill_mlx.read import floats, unpack
from modelmill_mlx.ternary import exact


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_ternary_group_is_exact_and_no_other_is_touched(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([32, 64, 128]))
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    codes = np.random.default_rng(data.draw(st.integers(0, 1 << 32))).integers(-1, 2, (*shape, size))
    scales = np.array(data.draw(st.lists(st.floats(2**-60, 2**60, width=32), min_size=1, max_size=4)), np.float32)
    values = (codes * np.resize(scales, (*shape, 1))).astype(np.float32)
    plain = data.draw(st.booleans())
    if plain:  # the first group holds a fourth value
        values[0, 0, :2] = [0.3, 0.7]
    mx.set_default_device(mx.cpu)
    rows = mx.array(values.reshape(shape[0], -1))
    stream = mx.new_stream(mx.cpu)
    made = tuple(mx.quantize(rows, size, 2, stream=stream))
    found = exact(rows, made, size, stream)
    words, scale, bias = (np.array(part) for part in found)
    back = unpack(memoryview(words.tobytes()), 2).reshape(*shape, size) * scale[..., None] + bias[..., None]
    whole = dequantized(found, size).reshape(values.shape)
    assert np.array_equal(back, whole)
    exactly = np.ones(shape, bool)
    exactly[0, 0] = not plain
    assert np.array_equal(back[exactly], values[exactly])
    if plain:
        theirs = dequantized(made, size).reshape(values.shape)
        assert np.array_equal(back[0, 0], theirs[0, 0])


def dequantized(arrays: Any, size: int) -> Any:
    words, scales, biases = arrays
    return np.array(mx.dequantize(words, scales, biases, size, 2))


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_mlx_lm_computes_with_the_very_values(tmp_path: Path, architecture: str) -> None:
    mlx_lm = pytest.importorskip("mlx_lm.utils")
    shape = Shape(hidden=128, intermediate=192, layers=2, heads=4, kv_heads=2)
    source = make_checkpoint(tmp_path / "source", architecture, shape=shape, ternary=True)
    folder = convert(source, tmp_path, "2bit")
    assert FORMAT.tensors is not None
    read = {item.tensor.name: item.values() for item in FORMAT.tensors(folder)}
    mx.set_default_device(mx.cpu)
    model: Any = mlx_lm.load_model(folder, lazy=True)[0]
    modules = dict(model.named_modules())
    with open_checkpoint(source) as weights:
        layers = linear_layers(weights.tensors)
        assert len(layers) == 14
        for tensor in layers:
            expected = floats(weights.raw(tensor.name), tensor.dtype).reshape(tensor.shape)
            assert np.array_equal(read[tensor.name], expected)
            layer = modules[tensor.name.removesuffix(".weight")]
            loaded = mx.dequantize(layer.weight, layer.scales, layer.biases, layer.group_size, layer.bits)
            assert np.array_equal(np.array(loaded.astype(mx.float32)), expected)


@pytest.mark.parametrize("scheme", ["2bit", "mixed_2_6"])
@pytest.mark.filterwarnings("ignore")  # mlx-lm's and transformers' own
def test_only_ternary_groups_of_two_bits_differ_from_mlx_lms(tmp_path: Path, scheme: str) -> None:
    pytest.importorskip("mlx_lm", reason="mlx-lm is the reference")
    shape = Shape(hidden=128, intermediate=192, layers=2, heads=4, kv_heads=2)
    source = make_checkpoint(tmp_path / "source", "llama", shape=shape, ternary=True)
    arguments = {"q_bits": 2} if scheme == "2bit" else {"quant_predicate": scheme}
    expected = contents(reference(source, tmp_path / "reference", quantize=True, q_group_size=64, **arguments))
    made = contents(convert(source, tmp_path, scheme))
    differ = {name.rpartition(".")[0] for name in made if made[name] != expected[name]}
    with open_checkpoint(source) as weights:
        layers = {tensor.name.removesuffix(".weight") for tensor in linear_layers(weights.tensors)}
    bits = {name: made[f"{name}.weight"][1][-1] * 32 // (made[f"{name}.scales"][1][-1] * 64) for name in layers}
    assert differ == {name for name in layers if bits[name] == 2} != set()


def test_mlx_by_itself_would_not() -> None:
    values = mx.array(np.resize(np.array([-1, 0, 1, 1], np.float32), (1, 64)))
    assert dequantized(mx.quantize(values, 64, 2), 64).min() > -0.75
