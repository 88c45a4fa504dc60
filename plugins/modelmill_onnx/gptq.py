"""GPTQ: rounding that makes up for each weight's error in the weights after it.

Frantar et al., https://arxiv.org/abs/2210.17323, with MatMulNBits' blocks along K. ONNX Runtime carries an
implementation too, but it forgets the scales that it rounded with and guesses them again from the rounded
values; this one keeps them, and finds each block's scale with the weighted search of `search.py`.
"""

from typing import Any, Final

import numpy as np
import torch

from modelmill import ConvertError
from modelmill_onnx.blocks import ROWS_AT_ONCE, Array, Grid, Packed, pack
from modelmill_onnx.search import search

DAMPING: Final = 0.01
"""Share of the Hessian's mean diagonal that is added to its diagonal, as in the paper."""
COLUMNS_AT_ONCE: Final = 128


def gptq(weight: Array, hessian: Array, grid: Grid) -> Packed:
    """Quantize a weight [K, N]; `hessian` [K, K] float64 is the sum of x xᵀ over the calibration text.

    One thread for the linear algebra: the bits must not depend on how many there are.
    """
    torch.set_num_threads(1)
    width, rows = weight.shape
    inverse = _inverse_factor(hessian)
    blocks = grid.blocks(width)
    codes = np.zeros((rows, blocks * grid.block_size), np.uint8)
    scales = np.empty((rows, blocks), np.float32)
    zero_points = np.empty((rows, blocks), np.uint8)
    for start in range(0, rows, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        some = torch.from_numpy(np.array(weight[:, part], np.float32, order="C"))  # a copy: it is worked on
        _quantize(some, inverse, grid, (codes[part], scales[part], zero_points[part]))
    return pack(codes.reshape(rows, blocks, grid.block_size), scales, zero_points, grid)


def _inverse_factor(hessian: Array) -> torch.Tensor:
    """The upper Cholesky factor of the damped Hessian's inverse."""
    matrix = torch.from_numpy(hessian.copy())
    diagonal = matrix.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += DAMPING * diagonal.mean()
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        factor: torch.Tensor = torch.linalg.cholesky(inverse, upper=True).float()
    except RuntimeError:  # torch.linalg.LinAlgError is one
        raise ConvertError(
            "the calibration text gives activations that GPTQ cannot invert; give it more or other text"
        ) from None
    return factor


def _quantize(weight: torch.Tensor, inverse: torch.Tensor, grid: Grid, into: tuple[Array, Array, Array]) -> None:
    """Quantize [K, n] in place of its own values, block after block."""
    codes, scales, zero_points = into
    width = len(weight)
    step = max(COLUMNS_AT_ONCE, grid.block_size)
    for start in range(0, width, step):
        stop = min(start + step, width)
        errors = torch.zeros(stop - start, weight.shape[1])
        here, factor = weight[start:stop], inverse[start:stop, start:stop]
        for at in range(stop - start):
            block, inside = divmod(start + at, grid.block_size)
            if inside == 0:
                scale, zero_point = _parameters(here[at : at + grid.block_size], factor, at, grid)
                scales[:, block], zero_points[:, block] = scale.numpy(), zero_point.numpy()
            code = (torch.round(here[at] / scale) + zero_point).clamp_(0, 2**grid.bits - 1)
            codes[:, start + at] = code.numpy()
            errors[at] = (here[at] - (code - zero_point) * scale) / factor[at, at]
            here[at + 1 :] -= torch.outer(factor[at, at + 1 :], errors[at])
        weight[stop:] -= inverse[start:stop, stop:].T @ errors


def _parameters(values: torch.Tensor, factor: torch.Tensor, at: int, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales [n] and zero points [n] of one block [block_size or less, n], each error at its price."""
    price = (1 / factor.diagonal()[at : at + len(values)] ** 2).numpy()
    padded = np.pad(values.T.numpy(), ((0, 0), (0, grid.block_size - len(values))))
    weighted = np.pad(price / price.mean(), (0, grid.block_size - len(values)))
    found: tuple[Any, ...] = search(np.ascontiguousarray(padded), weighted.astype(np.float32), grid)
    return torch.from_numpy(found[1][:, 0]), torch.from_numpy(found[2][:, 0].astype(np.float32))
