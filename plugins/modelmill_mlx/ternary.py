"""Ternary groups in MLX's 2-bit form, exactly: MLX's own rounding would turn every -s into -s/2.

`mlx.core.quantize` puts a group's largest magnitude on one of four evenly spaced values and zero on another; -s, 0
and s do not all fit into what remains (mlx/backend/cpu/quantized.cpp). With scale s and bias -s the codes 0, 1 and 2
are exactly them.
"""

from typing import Any

import mlx.core as mx

TERNARY_BITS = 2
_PER_WORD = 16
"""Codes of two bits in a word of 32, the first in the lowest."""


def exact(values: Any, arrays: tuple[Any, ...], group_size: int, stream: Any) -> tuple[Any, ...]:
    """What MLX made of some rows (words, scales, biases), with those groups replaced that hold -s, 0 and s alone.

    Groups of nothing but zeros stay as MLX has them, which is exact.
    """
    words, scales, biases = arrays
    rows = values.shape[0]
    groups = mx.reshape(values, (rows, -1, group_size), stream=stream)
    size = mx.abs(groups, stream=stream)
    largest = mx.max(size, axis=-1, keepdims=True, stream=stream)
    fits = mx.logical_or(
        mx.equal(size, largest, stream=stream), mx.equal(size, mx.array(0, size.dtype), stream=stream), stream=stream
    )
    scale = mx.squeeze(largest, -1, stream=stream)
    ternary = mx.logical_and(
        mx.all(fits, axis=-1, stream=stream), mx.greater(scale, mx.array(0, scale.dtype), stream=stream), stream=stream
    )
    codes = mx.astype(
        mx.add(mx.sign(groups, stream=stream), mx.array(1, groups.dtype), stream=stream), mx.uint32, stream=stream
    )
    shifts = mx.arange(0, 2 * _PER_WORD, 2, dtype=mx.uint32, stream=stream)
    packed = mx.sum(
        mx.left_shift(mx.reshape(codes, (rows, -1, _PER_WORD), stream=stream), shifts, stream=stream),
        axis=-1,
        stream=stream,
    )
    of_word = mx.repeat(ternary, group_size // _PER_WORD, axis=-1, stream=stream)
    return (
        mx.where(of_word, mx.astype(packed, words.dtype, stream=stream), words, stream=stream),
        mx.where(ternary, scale, scales, stream=stream),
        mx.where(ternary, mx.negative(scale, stream=stream), biases, stream=stream),
    )
