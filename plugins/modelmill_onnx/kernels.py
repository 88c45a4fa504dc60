"""Weights of one matrix → blocks of 4 or 8 bit integers in the layout of ONNX Runtime's MatMulNBits.

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
RANGES: Final = tuple(np.float32(0.72 + 0.03 * step) for step in range(12))
"""Shares of a block's range that the search tries: 0.72 to 1.05."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What the integers of one matrix look like."""

    bits: int
    block_size: int
    symmetric: bool

    def blocks(self, width: int) -> int:
        """The number of blocks that hold `width` values, the last one padded."""
        return -(-width // self.block_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One matrix as MatMulNBits takes it; `zero_points` is None on a symmetric grid."""

    codes: Array
    scales: Array
    zero_points: Array | None


Kernel = Callable[[Array, Grid], Packed]
"""A weight [K, N] → its blocks."""
Rows = Callable[[Array, Grid], tuple[Array, Array, Array]]
"""Blocks [n, block_size] float32 → codes [n, block_size], scales [n, 1], zero points [n, 1]."""


def rtn(weight: Array, grid: Grid) -> Packed:
    """Round to nearest, by ONNX Runtime's own kernel (MlasQuantizeBlockwise), as the model builder does."""
    from onnxruntime.capi import _pybind_state as kernels

    width, rows = weight.shape
    blocks = grid.blocks(width)
    codes = np.zeros((rows, blocks, grid.block_size * grid.bits // 8), np.uint8)
    scales = np.zeros((rows, blocks), np.float32)
    zero_points = np.zeros((rows, -(-blocks * grid.bits // 8)), np.uint8)
    padded = np.pad(weight, ((0, blocks * grid.block_size - width), (0, 0)))
    kernel = kernels.quantize_matmul_4bits if grid.bits == NIBBLE else kernels.quantize_matmul_8bits
    kernel(codes, padded, scales, zero_points, grid.block_size, rows, width, grid.symmetric)
    return Packed(codes=codes, scales=scales, zero_points=None if grid.symmetric else zero_points)


def k_quant(weight: Array, grid: Grid) -> Packed:
    """llama.cpp's search for a scale and a minimum that fit the weighted squares best, by ONNX Runtime."""
    return by_rows(weight, grid, _k_quant_rows)


def _k_quant_rows(blocks: Array, grid: Grid) -> tuple[Array, Array, Array]:
    from onnxruntime.quantization.neural_compressor.weight_only import quant_tensor_k_quant_cpu

    with np.errstate(all="ignore"):
        codes, scales, zero_points = quant_tensor_k_quant_cpu(blocks, grid.bits, grid.block_size)
    return codes.astype(np.uint8), scales.astype(np.float32), zero_points


def hqq(weight: Array, grid: Grid) -> Packed:
    """Half-quadratic quantization, its zero points rounded to the grid that GatherBlockQuantized shares."""
    return by_rows(weight, grid, _hqq_rows)


def _hqq_rows(blocks: Array, grid: Grid) -> tuple[Array, Array, Array]:
    import torch
    from onnxruntime.quantization.matmul_nbits_quantizer import HQQWeightOnlyQuantConfig, HQQWeightOnlyQuantizer

    quantizer = HQQWeightOnlyQuantizer(HQQWeightOnlyQuantConfig(block_size=grid.block_size, bits=grid.bits))
    _, scales, zero_points = quantizer.quantize_internal(
        torch.from_numpy(blocks), bits=grid.bits, group_size=grid.block_size
    )
    highest = 2**grid.bits - 1
    whole = np.clip(np.rint(zero_points.numpy()), 0, highest).astype(np.float32)
    scale = scales.numpy()
    codes = np.clip(np.rint(blocks / scale + whole), 0, highest)
    return codes.astype(np.uint8), scale, whole.astype(np.uint8)


def mse(weight: Array, grid: Grid) -> Packed:
    """The scale and the integer zero point of every block that leave the least squared error, by search.

    ONNX Runtime's k_quant fits a real minimum and rounds it to the grid afterwards, which gives back what the
    search had won; here the zero point is an integer from the start and the scale is refitted to it.
    """
    return by_rows(weight, grid, lambda blocks, grid: search(blocks, np.ones((), np.float32), grid))


def search(blocks: Array, importance: Array, grid: Grid) -> tuple[Array, Array, Array]:
    """Codes, scales and zero points of blocks [n, block_size]; `importance` weights each squared error.

    For every candidate range and zero point the codes are rounded, then the scale is their least-squares fit
    (as in llama.cpp's `make_qx_quants`); the candidate with the least error wins, the first among equals.
    """
    best = _Best(blocks, importance, grid)
    low, high = blocks.min(1, keepdims=True), blocks.max(1, keepdims=True)
    highest = np.float32(2**grid.bits - 1)
    if grid.symmetric:
        middle = np.float32(2 ** (grid.bits - 1))
        largest = np.where(high >= -low, high, low)
        for share in RANGES:
            best.consider(largest * (share / -middle), middle)
            best.consider(largest * (share / middle), middle)
        return best.found()
    for share in RANGES:
        scale = (high - low) * (share / highest)
        with np.errstate(all="ignore"):
            center = np.nan_to_num((highest - (low + high) / scale) / 2)
        for zero_point in (np.floor(center), np.ceil(center)):
            best.consider(scale, np.clip(zero_point, 0, highest))
    return best.found()


class _Best:
    """The best scale and zero point of every block so far."""

    def __init__(self, blocks: Array, importance: Array, grid: Grid) -> None:
        self._blocks = blocks
        self._importance = importance
        self._highest = np.float32(2**grid.bits - 1)
        shape = (len(blocks), 1)
        self._error = np.full(shape, np.inf, np.float32)
        self._scale = np.ones(shape, np.float32)
        self._zero_point = np.full(shape, 2 ** (grid.bits - 1), np.float32)

    def consider(self, scale: Array, zero_point: Any) -> None:
        """Take this scale [n, 1] and zero point where they leave a smaller error."""
        blocks, weighted = self._blocks, self._importance
        with np.errstate(all="ignore"):
            steps = np.clip(np.rint(blocks / scale) + zero_point, 0, self._highest) - zero_point
            part = weighted * steps
            scale = (part * blocks).sum(1, keepdims=True) / (part * steps).sum(1, keepdims=True)
            error = (weighted * (scale * steps - blocks) ** 2).sum(1, keepdims=True)
            better = (error < self._error) & np.isfinite(scale) & (scale != 0)
        self._error = np.where(better, error, self._error)
        self._scale = np.where(better, scale, self._scale)
        self._zero_point = np.where(better, zero_point, self._zero_point)

    def found(self) -> tuple[Array, Array, Array]:
        """Codes, scales and zero points."""
        codes = np.clip(np.rint(self._blocks / self._scale) + self._zero_point, 0, self._highest)
        return codes.astype(np.uint8), self._scale, self._zero_point.astype(np.uint8)


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
