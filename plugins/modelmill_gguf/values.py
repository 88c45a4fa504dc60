"""A tensor's values on their way from a checkpoint into GGUF, a block of rows at a time."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from modelmill import ConvertError
from modelmill_gguf.architectures.table import Change
from modelmill_gguf.layout import Planned

Array = npt.NDArray[Any]

# Half a million values: a block and what it becomes stay in a core's cache.
BLOCK_VALUES = 1 << 19
_STORED = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32}
_INFINITY = {"BF16": 0x7F80, "F16": 0x7C00, "F32": 0x7F80_0000}
# In BF16 bits without the sign: the smallest normal number of F16, and the count from there to its largest.
_F16_FIRST = 113 << 7
_F16_COUNT = 30 << 7


def stored(raw: memoryview, kind: str) -> Array:
    """Bytes of a tensor as an array; BF16, which numpy lacks, as the bits of its values."""
    return np.frombuffer(raw, dtype=np.dtype(_STORED[kind]).newbyteorder("<"))


def blocks(raw: memoryview, planned: Planned, kind: str) -> Iterator[Array]:
    """The changed values of a tensor as `kind` (F32, F16 or BF16 as bits), in blocks of whole rows.

    `raw` is the checkpoint's tensor. Each block is contiguous and may be a view of `raw`. Raises ConvertError
    for values that are not finite, before or after.
    """
    source = planned.source
    if source is None:
        raise ConvertError(f"Tensor {planned.tensor.name!r} does not come from the checkpoint.")
    width = source.shape[-1] if len(source.shape) > 1 else 1
    rows = stored(raw, source.dtype).reshape(-1, width)
    for block, held in _changed(rows, planned, source.dtype):
        converted = convert(block, held, kind)
        _check(converted, block, source.name, held, kind)
        yield converted


def _changed(rows: Array, planned: Planned, kind: str) -> Iterator[tuple[Array, str]]:
    """Blocks of changed values, and the type that they are in."""
    width = rows.shape[1]
    if planned.change in (Change.PERMUTE_QUERY, Change.PERMUTE_KEY):
        heads = rows.reshape(planned.heads, 2, -1, width)
        step = max(1, BLOCK_VALUES // max(1, heads[0].size))
        for at in range(0, planned.heads, step):
            yield np.ascontiguousarray(heads[at : at + step].swapaxes(1, 2)).reshape(-1, width), kind
        return
    step = max(1, BLOCK_VALUES // max(1, width))
    for at in range(0, len(rows), step):
        block = rows[at : at + step]
        yield _plus_one(block, kind) if planned.change is Change.PLUS_ONE else (block, kind)


def _plus_one(block: Array, kind: str) -> tuple[Array, str]:
    """One added in single precision; F16 is rounded back to F16, as llama.cpp's converter does."""
    if kind == "BF16":
        return widened(block) + np.float32(1), "F32"
    return (block.astype(np.float32) + np.float32(1)).astype(block.dtype), kind


def convert(block: Array, source: str, kind: str) -> Array:
    """Values of one unquantized type as another, rounded to the nearest, ties to even."""
    if source == kind:
        return block
    if source == "BF16":
        return _bf16_to_f16(block) if kind == "F16" else widened(block)
    if kind == "F32":
        return block.astype(np.float32)
    if kind == "F16":
        with np.errstate(over="ignore"):  # reported with the tensor's name
            return block.astype(np.float16)
    return _to_bf16(block.astype(np.float32, copy=False))


def widened(bits: Array) -> Array:
    """BF16 bits as float32 values: BF16 is the upper half of float32."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _to_bf16(values: Array) -> Array:
    """Float32 values as BF16 bits. Those that are not finite come out as what the check refuses."""
    bits = values.view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))
    result: Array = (rounded >> 16).astype(np.uint16)
    result[~np.isfinite(values).reshape(result.shape)] = _INFINITY["BF16"]
    return result


def _bf16_to_f16(bits: Array) -> Array:
    """BF16 bits as F16 values, ten times as fast as numpy's way through float32.

    F16 has three bits of mantissa more, so every BF16 in its normal range is a shift away. The others, below
    it and above, are looked up among all 65,536.
    """
    magnitude = bits & np.uint16(0x7FFF)
    magnitude -= np.uint16(_F16_FIRST)
    odd = np.flatnonzero(magnitude >= _F16_COUNT)
    magnitude += np.uint16(1 << 7)
    magnitude <<= 3
    magnitude |= bits & np.uint16(0x8000)
    if odd.size:
        magnitude.reshape(-1)[odd] = _every_bf16_as_f16()[bits.reshape(-1)[odd]]
    return magnitude.view(np.float16)


@cache
def _every_bf16_as_f16() -> Array:
    every = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(over="ignore", invalid="ignore"):
        return widened(every).astype(np.float16).view(np.uint16)


def _check(converted: Array, block: Array, name: str, source: str, kind: str) -> None:
    """Refuse NaN and infinities: as bits, each is above every finite number of its sign."""
    if not _any_not_finite(converted, kind):
        return
    if not _any_not_finite(block, source):
        wider = "BF16 or F32" if kind == "F16" else "F32"
        raise ConvertError(f"Tensor {name!r} has values beyond the range of {kind}; choose {wider}.")
    wide = convert(block, source, "F32")
    what = "NaN" if np.isnan(wide).any() else "infinite values"
    raise ConvertError(f"Tensor {name!r} holds {what}: the checkpoint is damaged.")


def _any_not_finite(block: Array, kind: str) -> bool:
    size = 4 if kind == "F32" else 2
    unsigned = block.view(f"<u{size}")
    signed = block.view(f"<i{size}")
    limit = _INFINITY[kind]
    sign = 1 << (8 * size - 1)
    return bool(block.size and (signed.max() >= limit or unsigned.max() >= sign | limit))
