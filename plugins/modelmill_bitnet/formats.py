"""How ternary values lie in memory: each layout packed and read back, exactly.

Values are codes 0, 1 and 2 for -1, 0 and 1, one byte each. Sources: TQ1_0 and TQ2_0 are `block_tq1_0` and
`block_tq2_0` of ggml-common.h, as `quantize_row_tq1_0_ref` and `quantize_row_tq2_0_ref` fill them; I2_S is
`quantize_i2_s` of microsoft/BitNet's src/ggml-bitnet-mad.cpp; the Hugging Face packing is `pack_weights` of
transformers' integrations/bitnet.py.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError
from modelmill_bitnet.layout import I2_S_BLOCKS

Codes = NDArray[np.uint8]

BLOCK = 256
_TQ2_BYTES = 66
_TQ1_BYTES = 54
_ONE = np.frombuffer(np.float16(1).tobytes(), np.uint8)
_TQ1_DIGITS = 5
# ceil(256 / 243 * digits), so that multiplying by 3 brings one digit after the other over the byte's edge.
_TQ1_CODED = ((np.arange(243) * 256 + 242) // 243).astype(np.uint8)
_NO_VALUE = "the packed weights hold the code 3, which stands for no ternary value"
I2_S_TAIL = 32
"""Bytes behind the codes of an I2_S tensor, of which the first four are its scale."""


def pack_tq2_0(codes: Codes) -> Codes:
    """Blocks of 256 values in 66 bytes; the scale of a block is 1, or 0 where all its values are 0."""
    parts = codes.reshape(-1, 2, 4, 32)
    found = np.empty((len(parts), _TQ2_BYTES), np.uint8)
    found[:, :64] = _quarters(parts, (0, 2, 4, 6)).reshape(-1, 64)
    found[:, 64:] = _block_scales(codes)
    return found


def unpack_tq2_0(data: Codes) -> Codes:
    """The codes of TQ2_0 blocks. ConvertError for a scale other than 0 and 1, or a code that is none."""
    blocks = data.reshape(-1, _TQ2_BYTES)
    _check_scales(blocks[:, 64:])
    packed = blocks[:, :64].reshape(-1, 2, 1, 32)
    return _checked((packed >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)) & 3).reshape(-1)


def pack_tq1_0(codes: Codes) -> Codes:
    """Blocks of 256 values in 54 bytes, five values to a byte in base 3."""
    blocks = codes.reshape(-1, BLOCK)
    found = np.empty((len(blocks), _TQ1_BYTES), np.uint8)
    for values, count, digits, at in _tq1_parts(blocks):
        runs = values.reshape(-1, digits, count)
        number = runs[:, 0].copy()
        for digit in range(1, digits):
            number *= np.uint8(3)
            number += runs[:, digit]
        if digits < _TQ1_DIGITS:
            number *= np.uint8(3)
        np.take(_TQ1_CODED, number, out=found[:, at : at + count], mode="clip")
    found[:, 52:] = _block_scales(codes)
    return found


def unpack_tq1_0(data: Codes) -> Codes:
    """The codes of TQ1_0 blocks. ConvertError for a scale other than 0 and 1."""
    blocks = data.reshape(-1, _TQ1_BYTES)
    _check_scales(blocks[:, 52:])
    found = np.empty((len(blocks), BLOCK), np.uint8)
    for values, count, digits, at in _tq1_parts(found):
        packed = blocks[:, at : at + count]
        shifts = np.array([3**digit for digit in range(digits)], np.uint8).reshape(1, -1, 1)
        shifted = (packed[:, None] * shifts).astype(np.uint8)
        values[:] = ((shifted.astype(np.uint16) * 3) >> 8).reshape(values.shape)
    return found.reshape(-1)


def _tq1_parts(blocks: Any) -> list[tuple[Any, int, int, int]]:
    """The three runs of a block: its values, bytes, digits to a byte, and first byte."""
    return [(blocks[:, :160], 32, 5, 0), (blocks[:, 160:240], 16, 5, 32), (blocks[:, 240:], 4, 4, 48)]


def pack_i2_s_codes(codes: Codes, variant: str) -> Codes:
    """Whole blocks of an I2_S tensor: four values to a byte, the first in the highest bits."""
    return _quarters(codes.reshape(-1, 1, 4, I2_S_BLOCKS[variant] // 4), (6, 4, 2, 0)).reshape(-1)


def i2_s_tail(scale: float) -> bytes:
    """What follows the codes of an I2_S tensor: its scale, padded."""
    return np.array(scale, "<f4").tobytes().ljust(I2_S_TAIL, b"\0")


def pack_i2_s(codes: Codes, scale: float, variant: str) -> Codes:
    """A whole I2_S tensor: its codes, then its scale."""
    return np.concatenate([pack_i2_s_codes(codes, variant), np.frombuffer(i2_s_tail(scale), np.uint8)])


def unpack_i2_s(data: Codes, variant: str) -> tuple[Codes, float]:
    """The codes and the scale of a whole I2_S tensor. ConvertError for a code that is none."""
    packed = data[:-I2_S_TAIL].reshape(-1, 1, I2_S_BLOCKS[variant] // 4)
    codes = _checked((packed >> np.array([6, 4, 2, 0], np.uint8).reshape(1, 4, 1)) & 3)
    tail = data[-I2_S_TAIL:].tobytes()
    return codes.reshape(-1), float(np.frombuffer(tail, "<f4", count=1)[0])


def pack_rows(codes: Codes) -> Codes:
    """A matrix of 4n rows as Hugging Face packs it: byte [r, c] holds rows r, r + n, r + 2n and r + 3n."""
    quarters = codes.reshape(4, -1, codes.shape[-1])
    packed: Codes = _quarters(quarters[None, None], (0, 2, 4, 6))[0, 0]
    return packed


def check_rows(packed: Codes) -> None:
    """ConvertError where Hugging Face's packing holds a code that is none."""
    if (packed & (packed >> np.uint8(1)) & np.uint8(0x55)).any():
        raise ConvertError(_NO_VALUE)


def unpack_rows(packed: Codes, rows: slice | NDArray[np.intp] = slice(None)) -> Codes:
    """The codes of some rows of Hugging Face's packing, which holds 4n rows in n."""
    count = len(packed)
    wanted = np.arange(4 * count)[rows]
    codes: Codes = packed[wanted % count]
    np.right_shift(codes, (2 * (wanted // count)).astype(np.uint8)[:, None], out=codes)
    np.bitwise_and(codes, np.uint8(3), out=codes)
    return codes


def _quarters(parts: Codes, shifts: tuple[int, int, int, int]) -> Codes:
    """Four runs of codes, interleaved: one of each in every byte."""
    found = parts[:, :, 0] << np.uint8(shifts[0])
    for at in range(1, 4):
        found |= parts[:, :, at] << np.uint8(shifts[at])
    return found.astype(np.uint8, copy=False)


def _block_scales(codes: Codes) -> Codes:
    used = (codes.reshape(-1, BLOCK) != 1).any(1)
    scales: Codes = np.where(used[:, None], _ONE, np.uint8(0))
    return scales


def _check_scales(found: Codes) -> None:
    if not ((found == _ONE) | (found == 0)).all(1).all():
        raise ConvertError("a ternary block has a scale of its own, other than the 1 that exact files have")


def _checked(codes: NDArray[Any]) -> Codes:
    if codes.size and codes.max() > 2:  # noqa: PLR2004 - the third code
        raise ConvertError(_NO_VALUE)
    return codes.astype(np.uint8, copy=False)
