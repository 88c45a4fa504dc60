"""An ONNX folder's weights as numbers, read with numpy alone."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelmill import ConvertError, TensorData
from modelmill_onnx import wire
from modelmill_onnx.blocks import Array, Grid, Packed, unpack
from modelmill_onnx.format import check_structure
from modelmill_onnx.graph import Weight, read_graph
from modelmill_onnx.tensors import Stored, stored_tensors

_DTYPES: Final = {
    "FLOAT": "<f4",
    "UINT8": "u1",
    "INT8": "i1",
    "UINT16": "<u2",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "BOOL": "?",
    "FLOAT16": "<f2",
    "DOUBLE": "<f8",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "BFLOAT16": "<u2",
}
_AS_BYTES: Final = (4, 9, 10)
"""Fields of TensorProto whose packed content is what `raw_data` would hold: floats, `raw_data` itself, doubles."""


def tensors(folder: Path) -> Iterator[TensorData]:
    """Every tensor, a quantized one in the shape of what it stands for; `raw` holds all its parts' bytes.

    ConvertError for a folder that is not sound.
    """
    for name in check_structure(folder):
        for stored in stored_tensors(read_graph(folder / name)):
            parts = [_bytes(folder, part) for part in stored.parts]
            raw = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
            yield TensorData(tensor=stored.tensor, raw=raw, values=_later(stored, parts))


def _later(stored: Stored, parts: list[memoryview]) -> Any:
    return lambda: _values(stored, parts)


def _bytes(folder: Path, weight: Weight) -> memoryview:
    """A weight's bytes, mapped where they lie in a file of their own; the folder's structure was checked."""
    if weight.location is None:
        return _inline(weight)
    path = folder / weight.location
    length = path.stat().st_size - weight.offset if weight.length is None else weight.length
    if not length:
        return memoryview(b"")
    return np.memmap(path, np.uint8, "r", weight.offset, (length,)).data


def _inline(weight: Weight) -> memoryview:
    """The bytes of a weight that the graph's file holds, in `raw_data` or in a field of its type."""
    if all(number in _AS_BYTES for number, _ in weight.data):
        found = [wire.message(value) for _, value in weight.data]
        return found[0] if len(found) == 1 else memoryview(b"".join(found))
    numbers = [number for _, value in weight.data for number in wire.integers(value)]
    word = _DTYPES.get(weight.dtype, "u1")
    if weight.dtype == "FLOAT16":  # as the bits of 16-bit integers
        word = "<u2"
    try:
        return memoryview(np.array(numbers, np.int64).astype(word, casting="unsafe").tobytes())
    except OverflowError:
        raise ConvertError(f"the weight {weight.name!r} holds a number of more than 64 bits") from None


def _plain(weight: Weight, raw: memoryview) -> Array:
    """A weight's numbers in its shape, as their own type, bfloat16 widened. ConvertError where they do not fit."""
    if weight.dtype not in _DTYPES:
        raise ConvertError(f"the weight {weight.name!r} is of the type {weight.dtype}, which cannot be widened here")
    values = np.frombuffer(raw, _DTYPES[weight.dtype])
    if values.size != prod(weight.shape):
        raise ConvertError(f"the weight {weight.name!r} holds {values.size:,} values for the shape {weight.shape}")
    if weight.dtype == "BFLOAT16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(weight.shape)


def _values(stored: Stored, parts: list[memoryview]) -> Array:
    """The float32 values of a tensor in its shape."""
    arrays = [_plain(weight, raw) for weight, raw in zip(stored.parts, parts, strict=True)]
    if stored.kind == "plain":
        return arrays[0].astype(np.float32)
    if stored.kind == "dynamic":
        codes, scale, zero_point = arrays
        return (codes.astype(np.float32) - zero_point.astype(np.float32)) * scale.astype(np.float32)
    return _from_blocks(stored, arrays)


def _from_blocks(stored: Stored, arrays: list[Array]) -> Array:
    rows, width = stored.tensor.shape[::-1] if stored.kind == "blocks" else stored.tensor.shape
    grid = Grid(bits=stored.bits, block_size=stored.block_size, symmetric=len(arrays) == 2)  # noqa: PLR2004
    blocks = grid.blocks(width)
    try:
        packed = Packed(
            codes=arrays[0].reshape(rows, blocks, -1),
            scales=arrays[1].reshape(rows, blocks),
            zero_points=None if grid.symmetric else arrays[2].reshape(rows, -1),
        )
        values = unpack(packed, grid, width)
    except ValueError:
        raise ConvertError(
            f"the parts of {stored.tensor.name!r} do not have the sizes of {rows} x {width} in blocks"
        ) from None
    return np.ascontiguousarray(values if stored.kind == "blocks" else values.T, np.float32)
