"""A layer's weights as ternary codes and one scale, from each form in which checkpoints hold them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelmill import ConvertError, Tensor
from modelmill_bitnet.formats import Codes, unpack_rows

_SMALLEST_MEAN = 1e-5
"""BitNet's own lower bound of the mean (transformers' `WeightQuant`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ternary:
    """Codes 0, 1, 2 for -1, 0, 1, a byte each in the layer's shape, and what they are multiplied by."""

    codes: Codes
    scale: float


def from_packed(name: str, raw: memoryview, shape: tuple[int, ...], stored_scale: float, *, divides: bool) -> Ternary:
    """Hugging Face's packed form; `divides` where the layer divides by the stored scale (`bitlinear`).

    ConvertError for a scale that is no positive number and for a code that is no ternary value.
    """
    if not np.isfinite(stored_scale) or stored_scale <= 0:
        raise ConvertError(f"tensor {name + '_scale'!r} holds {stored_scale}; a scale is a positive number")
    try:
        codes = unpack_rows(np.frombuffer(raw, np.uint8).reshape(shape))
    except ConvertError as error:
        raise ConvertError(f"tensor {name!r}: {error}") from None
    scale = np.float32(stored_scale)
    return Ternary(codes=codes, scale=float(np.float32(1) / scale if divides else scale))


def from_floats(tensor: Tensor, raw: memoryview, *, plain: bool) -> Ternary:
    """BitNet's own rule: round(w / mean |w|), cut to -1, 0, 1 (`WeightQuant` in transformers).

    Of master weights the mean is the scale too. Where the weights are ternary already (`plain`), the scale is the
    magnitude that they have, the mean of those that are not 0. ConvertError where a weight is not finite.
    """
    values = widened(raw, tensor.dtype).reshape(tensor.shape)
    mean = np.abs(values).mean(dtype=np.float64)
    if not np.isfinite(mean):
        raise ConvertError(f"tensor {tensor.name!r} holds a value that is not finite")
    scale = np.float32(max(mean, _SMALLEST_MEAN))
    codes = np.rint(values * (np.float32(1) / scale))
    codes = (np.clip(codes, -1, 1) + 1).astype(np.uint8)
    if plain:
        kept = np.abs(values[codes != 1])
        scale = np.float32(kept.mean(dtype=np.float64) if kept.size else 1)
    return Ternary(codes=codes, scale=float(scale))


def widened(raw: memoryview, dtype: str) -> Any:
    """BF16, F16 or F32 bytes as float32 values."""
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[dtype]).astype(np.float32)
