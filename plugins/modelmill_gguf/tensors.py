"""Reading a GGUF model's tensors, memory-mapped, their values widened when somebody asks."""

import mmap
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from modelmill import ConvertError, TensorData
from modelmill_gguf.model import read_model
from modelmill_gguf.tensor_types import TYPES
from modelmill_gguf.values import widened

_PLAIN = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}


def tensors(folder: Path) -> Iterator[TensorData]:
    """Every tensor in the order of the files; each is valid until the next is asked for."""
    model = read_model(folder)
    for part in model.parts:
        with part.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for info in part.header.tensors:
            raw = memoryview(mapped)[info.offset : info.offset + info.size]
            tensor = info.tensor
            yield TensorData(tensor=tensor, raw=raw, values=partial(values, raw, info.kind, info.shape))
        with suppress(BufferError):  # somebody still holds a tensor, which keeps the file mapped
            mapped.close()


def values(raw: memoryview, kind: str, shape: tuple[int, ...]) -> Any:
    """A tensor's bytes as float32 values of its row-major shape. Raises ConvertError for a type without a reader."""
    if kind in _PLAIN:
        return np.frombuffer(raw, dtype=_PLAIN[kind]).astype(np.float32).reshape(shape)
    if kind == "BF16":
        return widened(np.frombuffer(raw, dtype="<u2")).reshape(shape)
    import gguf

    number = TYPES[kind].number
    try:
        blocks = np.frombuffer(raw, dtype=np.uint8).reshape(prod(shape[:-1]), -1)
        found = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(number))
    except (NotImplementedError, ValueError):
        raise ConvertError(f"The gguf package cannot dequantize {kind}.") from None
    return found.reshape(shape)
