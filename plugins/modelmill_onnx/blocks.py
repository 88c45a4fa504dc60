"""Blocks of 4 or 8 bit integers in the layout of ONNX Runtime's MatMulNBits, packed and unpacked.

Layout (ContribOperators.md, com.microsoft.MatMulNBits): a weight [K, N] becomes B, uint8
[N, blocks, block_size * bits / 8] with the lower index in the lower bits, scales [N, blocks] and, where the
grid is not symmetric, zero points, uint8 [N, ceil(blocks * bits / 8)], packed alike. K is padded with zeros to
whole blocks. A value is (code - zero point) * scale, with the zero point 2^(bits-1) where there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NIBBLE: Final = 4
ROWS_AT_ONCE: Final = 4096
"""Rows of N that a kernel works on at a time: bounds the memory of the elementwise searches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What the integers of one matrix look like."""

    bits: int
    block_size: int
    symmetric: bool

    def blocks(self, width: int) -> int:
        """The number of blocks that hold `width` values, the last one padded."""
        return -(-width // self.block_size)


def report_padding(name: str, width: int, block_size: int) -> None:
    """Say in the step's log where rows do not divide into whole blocks."""
    if padded := -width % block_size:
        print(f"{name}: its {width} values per row are padded by {padded} to whole blocks of {block_size}")  # noqa: T201


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One matrix as MatMulNBits takes it; `zero_points` is None on a symmetric grid."""

    codes: Array
    scales: Array
    zero_points: Array | None


Rows = Callable[[Array, Grid], tuple[Array, Array, Array]]
"""Blocks [n, block_size] float32 → codes [n, block_size], scales [n, 1], zero points [n, 1]."""


def by_rows(weight: Array, grid: Grid, rows: Rows) -> Packed:
    """Quantize a [K, N] matrix block by block, some rows of N at a time."""
    width, count = weight.shape
    blocks = grid.blocks(width)
    codes = np.empty((count, blocks, grid.block_size), np.uint8)
    scales = np.empty((count, blocks), np.float32)
    zero_points = np.empty((count, blocks), np.uint8)
    for start in range(0, count, ROWS_AT_ONCE):
        part = np.ascontiguousarray(weight[:, start : start + ROWS_AT_ONCE].T, np.float32)
        padded = np.pad(part, ((0, 0), (0, blocks * grid.block_size - width)))
        found = rows(padded.reshape(-1, grid.block_size), grid)
        stop = start + len(part)
        codes[start:stop] = found[0].reshape(len(part), blocks, grid.block_size)
        scales[start:stop] = found[1].reshape(len(part), blocks)
        zero_points[start:stop] = found[2].reshape(len(part), blocks)
    return pack(codes, scales, zero_points, grid)


def pack(codes: Array, scales: Array, zero_points: Array, grid: Grid) -> Packed:
    """Codes [N, blocks, block_size] and zero points [N, blocks], one to a byte → MatMulNBits' layout."""
    return Packed(
        codes=_nibbles(codes) if grid.bits == NIBBLE else codes,
        scales=scales,
        zero_points=None if grid.symmetric else (_nibbles(zero_points) if grid.bits == NIBBLE else zero_points),
    )


def _nibbles(values: Array) -> Array:
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), np.uint8)], axis=-1)
    packed: Array = values[..., ::2] | (values[..., 1::2] << 4)
    return packed


def unpack(packed: Packed, grid: Grid, width: int) -> Array:
    """The values [width, N] that MatMulNBits computes with."""
    rows, blocks = packed.scales.shape
    codes = _bytes(packed.codes, grid).reshape(rows, blocks, grid.block_size).astype(np.float32)
    if packed.zero_points is None:
        codes -= 2.0 ** (grid.bits - 1)
    else:
        codes -= _bytes(packed.zero_points, grid)[:, :blocks, None]
    codes *= packed.scales.astype(np.float32)[..., None]
    return codes.reshape(rows, -1)[:, :width].T


def _bytes(values: Array, grid: Grid) -> Array:
    if grid.bits != NIBBLE:
        return values
    return np.stack([values & 15, values >> 4], axis=-1).reshape(*values.shape[:-1], -1)
