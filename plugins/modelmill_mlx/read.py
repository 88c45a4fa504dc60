"""An MLX folder's weights as numbers, read with numpy alone.

The layouts, from mlx/backend/cpu/quantized.cpp: a row's values lie one after the other, the first in the lowest bits,
without regard to word borders. `affine`: scale * value + bias for each group. `mxfp4` (OCP Microscaling 1.0): values
are E2M1, scales are powers of two with bias 127.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modelmill import ConvertError, Tensor, TensorData
from modelmill.checkpoint import Checkpoint, open_checkpoint, read_object
from modelmill_mlx.finite import is_finite, pieces
from modelmill_mlx.format import quantized_weights, tensors_of
from modelmill_mlx.schemes import Quantization, stored

_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
_SCALE_BIAS = 127


def tensors(folder: Path) -> Iterator[TensorData]:
    """Every weight in its own shape. `raw` holds its packed words, scales and biases one after the other."""
    weights = quantized_weights(read_object(folder / "config.json"), tensors_of(folder))
    with open_checkpoint(folder) as checkpoint:
        for tensor, quantization in weights:
            yield _data(checkpoint, tensor, quantization)


def _data(checkpoint: Checkpoint, tensor: Tensor, quantization: Quantization | None) -> TensorData:
    parts = [checkpoint.raw(part.name) for part in stored(tensor, quantization)]
    if quantization is None:
        return TensorData(
            tensor=tensor, raw=parts[0], values=lambda: floats(parts[0], tensor.dtype).reshape(tensor.shape)
        )
    named = Tensor(name=tensor.name, dtype=quantization.dtype, shape=tensor.shape)
    return TensorData(
        tensor=named,
        raw=memoryview(b"".join(parts)),
        values=lambda: dequantize(parts, tensor, quantization),
    )


def dequantize(parts: list[memoryview], tensor: Tensor, quantization: Quantization) -> Any:
    """The float32 values of a quantized weight; `tensor` has its shape and its scales' dtype."""
    values = unpack(parts[0], quantization.bits).reshape(-1, quantization.group_size)
    if quantization.mode == "affine":
        scales, biases = (floats(part, tensor.dtype).reshape(-1, 1) for part in parts[1:])
        found = values.astype(np.float32) * scales + biases
    else:
        exponents = np.frombuffer(parts[1], np.uint8).reshape(-1, 1).astype(np.int32) - _SCALE_BIAS
        found = np.ldexp(_E2M1[values], exponents)
    return found.reshape(tensor.shape)


def unpack(raw: memoryview, bits: int) -> Any:
    """The unsigned values of a packed tensor, in order; a row's bits fill whole words, so rows need no care."""
    data = np.frombuffer(raw, np.uint8)
    if bits == 8:  # noqa: PLR2004 - a byte each
        return data
    if 8 % bits == 0:
        values = np.empty((len(data), 8 // bits), np.uint8)
        for place in range(8 // bits):
            values[:, place] = (data >> place * bits) & ((1 << bits) - 1)
        return values.reshape(-1)
    flags = np.unpackbits(data, bitorder="little").reshape(-1, bits)
    return np.packbits(flags, axis=-1, bitorder="little").reshape(-1)


def floats(raw: memoryview, dtype: str) -> Any:
    """BF16, F16 or F32 bytes widened to float32."""
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[dtype]).astype(np.float32)


def check_numbers(folder: Path, weights: tuple[tuple[Tensor, Quantization | None], ...]) -> None:
    """ConvertError for a weight, scale or bias that is not finite: what a damaged file leaves.

    The files pass by in pieces, and no more than one piece is in memory.
    """
    with open_checkpoint(folder) as checkpoint:
        for tensor, quantization in weights:
            parts = stored(tensor, quantization)
            for part in parts if quantization is None else parts[1:]:
                kind = "E8M0" if quantization is not None and quantization.mode == "mxfp4" else part.dtype
                for piece in pieces(checkpoint.raw(part.name)):
                    if not is_finite(piece, kind):
                        raise ConvertError(
                            f"{part.name}: holds a value that is not finite: the file is damaged, or the weights that "
                            "it was made of are too large"
                        )
                    checkpoint.release(part.name)
