"""What the MLX converter wrote is read back and held against the checkpoint: damage is found, and nothing else."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_parts.folders import convert

from modelmill import ConvertError, Tensor
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_mlx import kernel
from modelmill_mlx.read import dequantize
from modelmill_mlx.readback import PIECES, error_bound, rows_compared
from modelmill_mlx.schemes import Quantization

KINDS = {"BF16": mx.bfloat16, "F16": mx.float16, "F32": mx.float32}
SCHEMES = [(bits, size, "affine") for bits in (2, 3, 4, 5, 6, 8) for size in (32, 64, 128)] + [(4, 32, "mxfp4")]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = Shape(hidden=128, intermediate=256, layers=2)
    return make_checkpoint(tmp_path_factory.mktemp("mlx") / "source", "llama", shape=shape)


def quantizing(change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """MLX's `quantize`, with a fault."""
    sound = mx.quantize

    def quantize(values: Any, *arguments: Any, **more: Any) -> tuple[Any, ...]:
        return change(tuple(sound(values, *arguments, **more)))

    return quantize


@pytest.mark.parametrize(
    ("scheme", "change"),
    [
        ("4bit", lambda arrays: (arrays[0], arrays[2], arrays[1])),
        ("4bit", lambda arrays: (mx.right_shift(arrays[0], mx.array(4, mx.uint32)), *arrays[1:])),
        ("8bit", lambda arrays: (mx.contiguous(arrays[0][::-1]), *arrays[1:])),
        ("2bit", lambda arrays: (arrays[0], arrays[1] * 2, arrays[2])),
        ("mxfp4", lambda arrays: (arrays[0], arrays[1] + mx.array(1, mx.uint8))),
        ("mixed_3_6", lambda arrays: (arrays[0], arrays[1], mx.zeros_like(arrays[2]))),
    ],
)
def test_a_kernel_that_fails_is_found_out(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, change: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(mx, "quantize", quantizing(change))
    with pytest.raises(ConvertError, match=r"^model\.embed_tokens\.weight: .* differs .* in rows 0 to ") as caught:
        convert(source, tmp_path, scheme)
    assert "\n" not in str(caught.value)


def test_bytes_of_another_weight_are_found_out(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two matrices have one shape, so that every header is right."""
    sound = kernel.stored_bytes

    def swapped(checkpoint: Any, weights: Any, threads: int) -> Iterator[Any]:
        parts = [b"".join(part) for part in sound(checkpoint, weights, threads)]
        names = [tensor.name for weight in weights for tensor in weight.stored]
        gate, up = (names.index(f"model.layers.1.mlp.{name}_proj.weight") for name in ("gate", "up"))
        parts[gate], parts[up] = parts[up], parts[gate]
        return ([part] for part in parts)

    monkeypatch.setattr(kernel, "stored_bytes", swapped)
    with pytest.raises(ConvertError, match=r"^model\.layers\.1\.mlp\.gate_proj\.weight: what was written differs"):
        convert(source, tmp_path / "quantized", "4bit")
    with pytest.raises(ConvertError, match=r"^model\.layers\.1\.mlp\.gate_proj\.weight: .* more than BF16 explains"):
        convert(source, tmp_path / "floats", "bf16")


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("whole", [True, False])
def test_each_weight_is_looked_at_from_its_first_row_to_its_last(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, place: str, *, whole: bool
) -> None:
    """Norms too, and in a weight that is not read whole."""
    if not whole:
        monkeypatch.setattr("modelmill_mlx.readback.PIECE_VALUES", 256)
    sound = kernel.stored_bytes
    bad = ""

    def damaged(checkpoint: Any, weights: Any, threads: int) -> Iterator[Any]:
        names = [tensor.name for weight in weights for tensor in weight.stored]
        for name, part in zip(names, sound(checkpoint, weights, threads), strict=True):
            data = bytearray(b"".join(part))
            if name == bad:
                # A bfloat16's exponent, in a norm, a scale or a bias.
                data[1 if place == "first" else -1] ^= 0x40
            yield [bytes(data)]

    monkeypatch.setattr(kernel, "stored_bytes", damaged)
    names = ["model.norm.weight", "model.layers.0.mlp.down_proj.scales", "model.embed_tokens.biases"]
    for number, bad in enumerate(names):
        weight = bad.rpartition(".")[0]
        with pytest.raises(ConvertError, match=f"^{weight}.weight: what was written differs"):
            convert(source, tmp_path / str(number), "4bit")


@settings(deadline=None, max_examples=300)
@given(
    rows=st.integers(0, 400),
    width=st.sampled_from([32, 64, 128, 1024, 20_000, 100_000]),
)
def test_rows_are_spread_from_the_first_to_the_last(rows: int, width: int) -> None:
    found = list(rows_compared(Tensor(name="w", dtype="BF16", shape=(rows, width))))
    assert all(first < last for first, last in found)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(found))
    assert len(found) <= PIECES
    if rows:
        assert (found[0][0], found[-1][1]) == (0, rows)


def test_an_experts_rows_count_as_its_own() -> None:
    found = list(rows_compared(Tensor(name="w", dtype="BF16", shape=(4, 3, 64))))
    assert found == [(0, 12)]


@settings(deadline=None, max_examples=500)
@given(
    how=st.sampled_from(SCHEMES),
    dtype=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**32 - 1),
    exponent=st.integers(-118, 118),
    offset=st.sampled_from([0, 0, 1, -3, 100]),
    shape=st.sampled_from(["normal", "uniform", "signs", "sparse", "positive"]),
)
def test_what_mlx_quantizes_is_within_the_bound(
    how: tuple[int, int, str], dtype: str, seed: int, exponent: int, offset: int, shape: str
) -> None:
    """Of any magnitude that the dtype holds: no sound conversion is refused."""
    bits, size, mode = how
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((8, size))
    values = {
        "normal": values,
        "uniform": generator.uniform(-1, 1, (8, size)),
        "signs": np.sign(values),
        "sparse": values * (generator.random((8, size)) < 0.1),
        "positive": np.abs(values),
    }[shape]
    scaled = (values + offset) * 2.0 ** (exponent if dtype != "F16" else exponent / 10)
    limit = 60_000 if dtype == "F16" else 1e38
    # The source is of more bits than what is quantized, as in a checkpoint in float32.
    source = np.clip(scaled, -limit, limit).astype(np.float32)
    array = mx.array(source).astype(KINDS[dtype])
    parts = [bytes_of(part) for part in mx.quantize(array, size, bits, mode=mode, stream=mx.cpu)]
    quantization = Quantization(bits=bits, group_size=size, mode=mode)
    found = dequantize(parts, Tensor(name="w", dtype=dtype, shape=(8, size)), quantization)
    assert (np.abs(found - source) <= error_bound(source, quantization, dtype)).all()


def bytes_of(array: Any) -> memoryview:
    plain = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
    return memoryview(np.array(plain).tobytes())


@pytest.mark.parametrize("dtype", sorted(KINDS))
def test_the_bound_is_not_looser_than_it_must_be(dtype: str) -> None:
    """A step and a half, and little more: codes that are two steps off are outside it."""
    source = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 64)
    for bits in (2, 3, 4, 5, 6):
        step = 2 / (2**bits - 1)
        assert (error_bound(source, Quantization(bits=bits, group_size=64), dtype) < 2 * step).all()
