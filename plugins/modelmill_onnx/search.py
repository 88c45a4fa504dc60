"""The scale and the zero point of every block that leave the least squared error, by search."""

from typing import Any, Final

import numpy as np

from modelmill_onnx.blocks import Array, Grid

RANGES: Final = tuple(np.float32(0.72 + 0.03 * step) for step in range(12))
"""Shares of a block's range that the search tries: 0.72 to 1.05."""
_VALUES_AT_ONCE: Final = 1 << 17
"""Values that are searched at a time: what a candidate needs of them stays in a core's own cache."""


def search(blocks: Array, importance: Array, grid: Grid) -> tuple[Array, Array, Array]:
    """Codes, scales [n, 1] and zero points [n, 1] of blocks [n, block_size].

    `importance`, of a shape that broadcasts to the blocks', weights each squared error. For every candidate range
    and zero point the codes are rounded, then the scale is their least-squares fit (as in llama.cpp's
    `make_qx_quants`); the candidate with the least error wins, the first among equals.
    """
    weights = np.broadcast_to(np.asarray(importance, np.float32), blocks.shape)
    codes = np.empty(blocks.shape, np.uint8)
    scales = np.empty((len(blocks), 1), np.float32)
    zero_points = np.empty((len(blocks), 1), np.uint8)
    step = max(1, _VALUES_AT_ONCE // grid.block_size)
    for start in range(0, len(blocks), step):
        part = slice(start, start + step)
        codes[part], scales[part, 0], zero_points[part, 0] = _search(blocks[part], weights[part], grid)
    return codes, scales, zero_points


def _search(blocks: Array, weights: Array, grid: Grid) -> tuple[Array, Array, Array]:
    best = _Best(blocks, weights, grid)
    # A zero point is a code of the grid, so that every range holds zero, as in ONNX Runtime's own rounding.
    low, high = np.minimum(blocks.min(1), 0), np.maximum(blocks.max(1), 0)
    highest = np.float32(2**grid.bits - 1)
    with np.errstate(all="ignore"):
        if grid.symmetric:
            middle = np.float32(2 ** (grid.bits - 1))
            largest = np.where(high >= -low, high, low)
            for share in RANGES:
                best.consider(-middle / (largest * share), middle)
                best.consider(middle / (largest * share), middle)
            return best.found()
        for share in RANGES:
            inverse = highest / ((high - low) * share)
            center = np.nan_to_num((highest - (low + high) * inverse) / 2)
            for zero_point in (np.floor(center), np.ceil(center)):
                best.consider(inverse, np.clip(zero_point, 0, highest))
        return best.found()


class _Best:
    """The best scale and zero point of every block so far."""

    def __init__(self, blocks: Array, weights: Array, grid: Grid) -> None:
        self._blocks = blocks
        self._weights = weights
        self._weighted = blocks * weights
        self._highest = np.float32(2**grid.bits - 1)
        self._steps = np.empty_like(self._weighted)
        self._squares = np.empty_like(self._weighted)
        self._won = np.full(len(blocks), -np.inf, np.float32)
        self._scale = np.ones(len(blocks), np.float32)
        self._zero_point = np.full(len(blocks), 2 ** (grid.bits - 1), np.float32)

    def consider(self, inverse: Array, zero_point: Any) -> None:
        """Take the scale [n] that fits the codes of 1 / `inverse` best, where it leaves a smaller error.

        What a fit takes off the blocks' own squares is the error's other side, and needs one pass less.
        """
        steps = np.multiply(self._blocks, inverse[:, None], out=self._steps)
        np.rint(steps, out=steps)
        offset = np.broadcast_to(np.asarray(zero_point, np.float32), inverse.shape)[:, None]
        np.maximum(steps, -offset, out=steps)
        np.minimum(steps, self._highest - offset, out=steps)
        product = np.einsum("ij,ij->i", steps, self._weighted)
        scale = product / np.einsum("ij,ij->i", np.multiply(steps, steps, out=self._squares), self._weights)
        won = product * scale
        better = (won > self._won) & np.isfinite(scale) & (scale != 0)
        self._won = np.where(better, won, self._won)
        self._scale = np.where(better, scale, self._scale)
        self._zero_point = np.where(better, offset[:, 0], self._zero_point)

    def found(self) -> tuple[Array, Array, Array]:
        """Codes [n, block_size], scales [n] and zero points [n]."""
        offset = self._zero_point[:, None]
        codes = np.clip(np.rint(self._blocks / self._scale[:, None]) + offset, 0, self._highest)
        return codes.astype(np.uint8), self._scale, self._zero_point.astype(np.uint8)
