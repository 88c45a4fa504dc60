"""Weights of one matrix → blocks of integers, in the ways that look at the weights alone."""

from collections.abc import Callable

import numpy as np

from modelmill_onnx.blocks import NIBBLE, Array, Grid, Packed, by_rows
from modelmill_onnx.search import search

_TINY = 1e-30
_LEAST = 1e-4
_HQQ_STEPS = 2e4
"""ONNX Runtime's HQQ makes no more steps than this of 1, and the steps of small weights too large."""
Kernel = Callable[[Array, Grid], Packed]
"""A weight [K, N] → its blocks."""


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
    found = codes.astype(np.uint8), scales.astype(np.float32), zero_points
    return _searched(blocks, grid, _without_zero(blocks), found)


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
    capped = (blocks.max(1) - blocks.min(1)) * _HQQ_STEPS < highest
    return _searched(
        blocks, grid, _without_zero(blocks) | capped, (codes.astype(np.uint8), scale, whole.astype(np.uint8))
    )


def _without_zero(blocks: Array) -> Array:
    """Which blocks [n] lie on one side of zero. A real zero point of theirs is outside the grid, and cut to its end."""
    lost: Array = (blocks.min(1) > 0) | (blocks.max(1) < 0)
    return lost


def _searched(blocks: Array, grid: Grid, lost: Array, found: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """What was found, and for the blocks that are lost what `mse` finds."""
    if lost.any():
        for whole, some in zip(found, search(blocks[lost], np.ones((), np.float32), grid), strict=True):
            whole[lost] = some
    return found


def mse(weight: Array, grid: Grid) -> Packed:
    """The scale and the integer zero point of every block that leave the least squared error, by search.

    ONNX Runtime's k_quant fits a real minimum and rounds it to the grid afterwards, which gives back what the
    search had won; here the zero point is an integer from the start and the scale is refitted to it.
    """
    return by_rows(weight, grid, lambda blocks, grid: search(blocks, np.ones((), np.float32), grid))


def weighted(weight: Array, mean_square: Array, grid: Grid) -> Packed:
    """As `mse`, each squared error at the price of its activation: `mean_square` [K] of what it is multiplied with.

    The sum over a block is then the expected squared error of the block's product, but for what the errors of
    different channels have in common, which takes `gptq`.
    """
    blocks = grid.blocks(len(mean_square))
    price = np.pad(mean_square / max(mean_square.mean(), _TINY), (0, blocks * grid.block_size - len(mean_square)))
    # A channel that stayed silent still counts a little: other text may wake it.
    price = np.maximum(price, _LEAST).astype(np.float32).reshape(blocks, grid.block_size)
    return by_rows(weight, grid, lambda rows, grid: search(rows, np.tile(price, (len(rows) // blocks, 1)), grid))
