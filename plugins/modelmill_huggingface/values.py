"""The float32 values of safetensors tensors."""

from typing import Any

import numpy as np
import numpy.typing as npt

from modelmill import ConvertError

_NUMPY = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "I64": "<i8",
    "U64": "<u8",
    "F64": "<f8",
}


def widen(dtype: str, shape: tuple[int, ...], raw: memoryview) -> npt.NDArray[np.float32]:
    """Raw bytes as an array of float32 of this shape. ConvertError for a dtype that numpy has no equal of."""
    if dtype == "BF16":  # the upper half of a float32
        halves: npt.NDArray[Any] = np.frombuffer(raw, dtype="<u2").astype(np.uint32)
        halves <<= 16
        return halves.view(np.float32).reshape(shape)
    if dtype not in _NUMPY:
        raise ConvertError(f"values of the dtype {dtype} cannot be widened to float32")
    return np.frombuffer(raw, dtype=_NUMPY[dtype]).astype(np.float32).reshape(shape)
