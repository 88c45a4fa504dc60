"""A layer's weights as ternary codes and one scale, from each form in which checkpoints hold them.

Values are worked on in blocks of whole rows that stay in a core's cache: what is read of a layer is all that it costs
in memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError, Tensor
from modelmill_bitnet.formats import Codes, check_rows, unpack_rows

_SMALLEST_MEAN = 1e-5
"""BitNet's own lower bound of the mean (transformers' `WeightQuant`)."""
_BLOCK_VALUES = 1 << 18
_FLOATS = {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}

Rows = slice | NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ternary:
    """A layer: what its values are multiplied by, and `read`, which gives the codes (0, 1, 2 for -1, 0, 1) of rows."""

    scale: float
    shape: tuple[int, int]
    read: Callable[[Rows], Codes]

    def blocks(self, heads: int | None = None) -> Iterator[Codes]:
        """The codes, row after row, in blocks. The rows of `heads` heads go from halves to pairs where it is given."""
        rows, width = self.shape
        order = None if heads is None else np.arange(rows).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)
        step = max(1, _BLOCK_VALUES // width)
        for start in range(0, rows, step):
            part = slice(start, min(rows, start + step))
            yield self.read(part if order is None else order[part]).reshape(-1)


def from_packed(name: str, raw: memoryview, shape: tuple[int, ...], stored_scale: float, *, divides: bool) -> Ternary:
    """Hugging Face's packed form of `shape`; `divides` where the layer divides by the stored scale (`bitlinear`).

    ConvertError for a scale that is no positive number and for a code that is no ternary value.
    """
    if not np.isfinite(stored_scale) or stored_scale <= 0:
        raise ConvertError(f"tensor {name + '_scale'!r} holds {stored_scale}; a scale is a positive number")
    packed = np.frombuffer(raw, np.uint8).reshape(shape)
    try:
        check_rows(packed)
    except ConvertError as error:
        raise ConvertError(f"tensor {name!r}: {error}") from None
    scale = np.float32(stored_scale)
    return Ternary(
        scale=float(np.float32(1) / scale if divides else scale),
        shape=(4 * shape[0], shape[1]),
        read=partial(unpack_rows, packed),
    )


def from_floats(tensor: Tensor, raw: memoryview, *, plain: bool) -> Ternary:
    """BitNet's own rule: round(w / mean |w|), cut to -1, 0, 1 (`WeightQuant` in transformers).

    Of master weights the mean is the scale too. Where the weights are ternary already (`plain`), the scale is the
    magnitude that they have, the mean of those that are not 0. ConvertError where a weight is not finite.
    """
    stored = np.frombuffer(raw, _FLOATS[tensor.dtype]).reshape(tensor.shape)
    rows, width = stored.shape
    step = max(1, _BLOCK_VALUES // width)

    def values(part: Rows) -> Any:
        return _wide(stored[part], tensor.dtype)

    starts = [slice(start, start + step) for start in range(0, rows, step)]
    mean = sum(float(np.abs(values(part)).sum(dtype=np.float64)) for part in starts) / stored.size
    if not np.isfinite(mean):
        raise ConvertError(f"tensor {tensor.name!r} holds a value that is not finite")
    held = (mean or 1.0) if plain else max(mean, _SMALLEST_MEAN)
    inverse = np.float32(1) / np.float32(held)

    def read(part: Rows) -> Codes:
        scaled = values(part) * inverse
        # Half rounds to even, to 0. Unsigned: 0 - 1 + 1 is 0 again.
        codes: Codes = (scaled > np.float32(0.5)).view(np.uint8)
        codes -= (scaled < np.float32(-0.5)).view(np.uint8)
        codes += np.uint8(1)
        return codes

    scale = _magnitude(starts, values, read) if plain else held
    return Ternary(scale=float(np.float32(scale)), shape=(rows, width), read=read)


def _magnitude(parts: list[slice], values: Callable[[Rows], Any], read: Callable[[Rows], Codes]) -> float:
    """The mean magnitude of the weights that are not 0; 1 where all are."""
    total, count = 0.0, 0
    for part in parts:
        kept = values(part)[read(part) != 1]
        total += float(np.abs(kept).sum(dtype=np.float64))
        count += kept.size
    return total / count if count else 1.0


def widened(raw: memoryview, dtype: str) -> Any:
    """BF16, F16 or F32 bytes as float32 values."""
    return _wide(np.frombuffer(raw, _FLOATS[dtype]), dtype)


def _wide(stored: Any, dtype: str) -> Any:
    """Values as float32; BF16, which numpy lacks, comes as the bits that are its upper half."""
    if dtype == "BF16":
        wide = stored.astype(np.uint32)
        wide <<= np.uint32(16)
        return wide.view(np.float32)
    return stored.astype(np.float32, copy=False)
