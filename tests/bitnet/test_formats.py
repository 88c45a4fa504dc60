"""Every ternary layout gives back what was put into it, and is what its own library makes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import gguf
from modelmill import ConvertError, Tensor
from modelmill_bitnet.convert import packer
from modelmill_bitnet.formats import (
    Codes,
    check_rows,
    pack_i2_s,
    pack_rows,
    pack_tq1_0,
    pack_tq2_0,
    unpack_i2_s,
    unpack_rows,
    unpack_tq1_0,
    unpack_tq2_0,
)
from modelmill_bitnet.layout import I2_S_BLOCKS, bitnet_cpp, llama_cpp
from modelmill_bitnet.ternary import from_floats, from_packed

BLOCKS = st.integers(1, 6).flatmap(lambda count: arrays.arrays(np.uint8, count * 256, elements=st.integers(0, 2)))
LAYOUTS = {
    "TQ1_0": (pack_tq1_0, unpack_tq1_0, gguf.GGMLQuantizationType.TQ1_0),
    "TQ2_0": (pack_tq2_0, unpack_tq2_0, gguf.GGMLQuantizationType.TQ2_0),
}


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=60, deadline=None)
@given(codes=BLOCKS)
def test_tq_gives_back_its_values_and_is_what_gguf_makes(name: str, codes: Codes) -> None:
    pack, unpack, kind = LAYOUTS[name]
    packed = pack(codes)
    assert np.array_equal(unpack(packed), codes)
    values = codes.astype(np.float32) - 1
    assert np.array_equal(packed.reshape(-1), gguf.quants.quantize(values, kind).reshape(-1))
    assert np.array_equal(gguf.quants.dequantize(packed.reshape(-1), kind).reshape(-1), values)


@pytest.mark.parametrize("variant", I2_S_BLOCKS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_i2_s_gives_back_its_values(variant: str, data: st.DataObject) -> None:
    count = I2_S_BLOCKS[variant] * data.draw(st.integers(1, 8))
    codes = data.draw(arrays.arrays(np.uint8, count, elements=st.integers(0, 2)))
    scale = float(data.draw(st.floats(2**-100, 2**100, width=32)))
    packed = pack_i2_s(codes, scale, variant)
    assert packed.nbytes == count // 4 + 32
    found, found_scale = unpack_i2_s(packed, variant)
    assert np.array_equal(found, codes)
    assert found_scale == scale
    assert [read_i2_s(packed.tobytes(), at, variant) for at in range(count)] == codes.tolist()


def read_i2_s(data: bytes, at: int, variant: str) -> int:
    """Value `at`, by the layout's description alone: blocks of 128 (x86) or 64 (ARM) values in a quarter as many
    bytes; byte p of a block holds its values p, p + q, p + 2q, p + 3q, the first in bits 7 and 6."""
    block = {"x86-act-parallel": 128, "arm-neon": 64}[variant]
    quarter = block // 4
    byte = data[at // block * quarter + at % block % quarter]
    return byte >> (6 - 2 * (at % block // quarter)) & 3


@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 9), st.integers(1, 40)).flatmap(
    lambda size: arrays.arrays(np.uint8, (4 * size[0], size[1]), elements=st.integers(0, 2))
))  # fmt: skip
def test_rows_give_back_their_values_and_are_what_transformers_makes(codes: Codes) -> None:
    import torch
    from transformers.integrations.bitnet import pack_weights

    packed = pack_rows(codes)
    assert np.array_equal(unpack_rows(packed), codes)
    assert np.array_equal(packed, pack_weights(torch.tensor(codes.astype(np.float32) - 1)).numpy())


def test_the_code_three_is_no_value() -> None:
    with pytest.raises(ConvertError, match="the code 3"):
        check_rows(np.full((2, 8), 0xC0, np.uint8))
    with pytest.raises(ConvertError, match="the code 3"):
        unpack_tq2_0(np.concatenate([np.full(64, 0xFF, np.uint8), np.frombuffer(np.float16(1).tobytes(), np.uint8)]))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_block_with_a_scale_of_its_own_is_refused(name: str) -> None:
    pack, unpack, _ = LAYOUTS[name]
    packed = pack(np.full(256, 2, np.uint8))
    packed[:, -2:] = np.frombuffer(np.float16(0.5).tobytes(), np.uint8)
    with pytest.raises(ConvertError, match="a scale of its own"):
        unpack(packed)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_layer_of_any_shape_and_scale_survives_every_format(data: st.DataObject) -> None:
    rows, width = 4 * data.draw(st.integers(1, 12)), 64 * data.draw(st.integers(1, 12))
    scale = np.float32(data.draw(st.sampled_from([2.0**-20, 2.0**-3, 1.0, 2.0**9])))
    codes = np.random.default_rng(data.draw(st.integers(0, 1 << 32))).integers(0, 3, (rows, width)).astype(np.uint8)
    floats = (codes.astype(np.float32) - 1) * scale
    layers = [
        from_packed("w", pack_rows(codes).data.cast("B"), (rows // 4, width), float(scale), divides=False),
        from_packed("w", pack_rows(codes).data.cast("B"), (rows // 4, width), float(1 / scale), divides=True),
        from_floats(Tensor(name="w", dtype="F32", shape=(rows, width)), floats.data.cast("B"), plain=True),
    ]
    for layer in layers:
        assert layer.scale == (scale if (codes != 1).any() else layer.scale)
        packed = {name: b"".join(pack(block).tobytes() for block in layer.blocks()) for name, pack in packers(width)}
        for name, content in packed.items():
            assert np.array_equal(unpackers(name)(np.frombuffer(content, np.uint8)), codes.reshape(-1)), name


def packers(width: int) -> list[tuple[str, Any]]:
    """Every format whose blocks divide the width, and F16, which holds any."""
    found: list[tuple[str, Any]] = [("F16", packer("F16", llama_cpp("TQ2_0")))]
    if width % 256 == 0:
        found += [(name, packer(name, llama_cpp(name))) for name in LAYOUTS]
    return found + [(v, packer("I2_S", bitnet_cpp(v))) for v, block in I2_S_BLOCKS.items() if width % block == 0]


def unpackers(name: str) -> Any:
    if name in LAYOUTS:
        return LAYOUTS[name][1]
    if name in I2_S_BLOCKS:
        return lambda content: unpack_i2_s(np.concatenate([content, np.zeros(32, np.uint8)]), name)[0]
    return lambda content: (content.view("<f2") + 1).astype(np.uint8)
