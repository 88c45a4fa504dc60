"""What a conversion wrote, read back with numpy and held against the checkpoint that it came from.

The bounds are those of the formats (mlx/backend/cpu/quantized.cpp): a value that lies further off was not quantized,
but lost, by a kernel that fails on this machine or by a file that is not what was written.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelmill import ConvertError, Tensor
from modelmill.checkpoint import DTYPE_BITS, Checkpoint, open_checkpoint
from modelmill_mlx.layout import Weight
from modelmill_mlx.read import dequantize, floats
from modelmill_mlx.schemes import Quantization

PIECE_VALUES = 1 << 12
"""Values of a weight that are compared together: their float32 forms fit into a core's cache."""
PIECES = 4
"""Pieces of a weight that are compared, spread from its first row to its last; a small weight is compared whole."""
_LEAST_SCALE = 1e-7
"""MLX's `eps`: no group's values lie closer together."""
_ROUNDING = {"BF16": (2.0**-8, 2.0**-133), "F16": (2.0**-11, 2.0**-25), "F32": (2.0**-24, 2.0**-149)}
"""What rounding to a kind of floats changes at most: relative to a value, and where values are close to zero."""


def check_written(folder: Path, checkpoint: Checkpoint, weights: Sequence[Weight]) -> None:
    """ConvertError for a weight of the folder that is further from the checkpoint's than its format explains."""
    with open_checkpoint(folder) as written:
        for weight in weights:
            for first, last in rows_compared(weight.tensor):
                _check(weight, written, checkpoint, first, last)
            checkpoint.release(weight.source.name)
            for part in weight.stored:
                written.release(part.name)


def rows_compared(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """Where the rows that are compared begin, and the row after their last."""
    rows = math.prod(tensor.shape[:-1])
    step = max(1, PIECE_VALUES // max(1, tensor.shape[-1])) if tensor.shape else 1
    count = min(PIECES, -(-rows // step))
    if count * step >= rows:
        yield from ((start, min(rows, start + step)) for start in range(0, rows, step))
        return
    for number in range(count):
        start = number * (rows - step) // (count - 1)
        yield start, start + step


def _check(weight: Weight, written: Checkpoint, checkpoint: Checkpoint, first: int, last: int) -> None:
    source = floats(_rows(checkpoint, weight.source, first, last), weight.source.dtype)
    parts = [_rows(written, part, first, last) for part in weight.stored]
    if weight.quantization is None:
        found = floats(parts[0], weight.tensor.dtype)
        bound = rounding(np.abs(source), weight.tensor.dtype)
    else:
        piece = Tensor(
            name=weight.tensor.name, dtype=weight.tensor.dtype, shape=(last - first, weight.tensor.shape[-1])
        )
        groups = source.reshape(-1, weight.quantization.group_size)
        found = dequantize(parts, piece, weight.quantization).reshape(groups.shape)
        source, bound = groups, error_bound(groups, weight.quantization, weight.tensor.dtype)
    with np.errstate(invalid="ignore", over="ignore"):  # of what is damaged
        off = np.abs(found - source)
    # Not `off > bound`: a value that became NaN is no closer than any other.
    if not (off <= bound).all():
        kind = weight.quantization.dtype if weight.quantization else weight.tensor.dtype
        raise ConvertError(
            f"{weight.tensor.name}: what was written differs from the checkpoint by up to {np.nanmax(off):.3g} in rows "
            f"{first} to {last - 1}, more than {kind} explains: MLX's kernels fail on this machine, or its disk does; "
            "run `modelmill doctor`, and report it with the version of mlx if it happens again"
        )


def error_bound(groups: Any, quantization: Quantization, dtype: str) -> Any:
    """How far from values (groups x group size) those may be that MLX quantized them to, with scales of `dtype`."""
    size = np.abs(groups)
    largest = size.max(1, keepdims=True)
    if quantization.mode != "affine":
        return _microscaled(size, largest) + rounding(size, dtype) + 6 * rounding(largest / 6, dtype)
    steps = 2**quantization.bits - 1
    step = np.maximum((groups.max(1, keepdims=True) - groups.min(1, keepdims=True)) / steps, _LEAST_SCALE)
    # Half a step, and one more at the far end, for MLX widens or narrows the steps until zero is one of them. Then
    # what is rounded: the values themselves, the bias, and the scale as often as it is added.
    _, least = _ROUNDING[dtype]
    return 1.5 * step + rounding(2 * largest + steps * step, dtype) + steps * least


def _microscaled(size: Any, largest: Any) -> Any:
    """Half the gap between neighbours of E2M1's 0, 0.5, 1, 1.5, 2, 3, 4, 6, in units of the scale.

    The scale is the least power of two by which the largest value is no more than 6, of a sixth as `dtype` holds it.
    """
    with np.errstate(divide="ignore"):
        scale = np.exp2(np.maximum(np.ceil(np.log2(largest / 6)), -127))
    units = size / scale
    return scale * np.where(units <= 2, 0.25, np.where(units <= 4, 0.5, 1.0))  # noqa: PLR2004 - E2M1's own


def rounding(size: Any, dtype: str) -> Any:
    """How far a number of this size may move when it is rounded to a kind of floats."""
    relative, least = _ROUNDING[dtype]
    return size * relative + least


def _rows(checkpoint: Checkpoint, tensor: Tensor, first: int, last: int) -> memoryview:
    row = tensor.shape[-1] * DTYPE_BITS[tensor.dtype] // 8 if tensor.shape else DTYPE_BITS[tensor.dtype] // 8
    return checkpoint.raw(tensor.name)[first * row : last * row]
