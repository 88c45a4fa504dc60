"""ggml's own kernels, called through ctypes: widening rows to float32 and packing them into blocks.

The library comes prebuilt from the package `libggml-python`, whose `ggml_quantize_chunk` gives the bytes that
llama.cpp's quantizer gives; for some types it is llama.cpp's own. Every call leaves the GIL to other threads.
"""

import ctypes
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError
from modelmill_gguf.kernels import LLAMA, PREBUILT, REQUIREMENTS, distribution_of
from modelmill_gguf.tensor_types import TYPES

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_MODULES = {PREBUILT: "libggml", LLAMA: "llama_cpp"}
_WIDENING = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}


@cache
def library(distribution: str = PREBUILT) -> ctypes.CDLL:
    """The libggml-base of a distribution, with the signatures that are used here. ConvertError where it is missing."""
    spec = find_spec(_MODULES[distribution])
    if spec is None or spec.origin is None:
        raise ConvertError(
            f"{distribution} is not installed; `pip install '{REQUIREMENTS[distribution]}'` installs it."
        )
    name = "libggml-base.dylib" if sys.platform == "darwin" else "libggml-base.so"
    folder = Path(spec.origin).parent
    found = sorted(folder.glob(f"lib*/{name}"))
    if not found:
        raise ConvertError(f"The package {distribution} holds no {name}; reinstall it.")
    loaded = ctypes.CDLL(str(found[0]))
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    loaded.ggml_quantize_chunk.argtypes = (ctypes.c_int, pointer, pointer, count, count, count, pointer)
    loaded.ggml_quantize_chunk.restype = ctypes.c_size_t
    loaded.ggml_quantize_init.argtypes = (ctypes.c_int,)
    loaded.ggml_quantize_init.restype = None
    loaded.ggml_validate_row_data.argtypes = (ctypes.c_int, pointer, ctypes.c_size_t)
    loaded.ggml_validate_row_data.restype = ctypes.c_bool
    for widening in _WIDENING.values():
        function = getattr(loaded, widening)
        function.argtypes = (pointer, pointer, count)
        function.restype = None
    return loaded


def prepare(kind: str) -> None:
    """Build the tables of a type before threads use it."""
    library(distribution_of(kind)).ggml_quantize_init(TYPES[kind].number)


def widen(kind: str, raw: Any, count: int) -> Floats:
    """`count` values of an unquantized type as float32; F32 is not copied."""
    if kind == "F32":
        return np.frombuffer(raw, np.float32, count)
    source = np.frombuffer(raw, np.uint16, count)
    values = np.empty(count, np.float32)
    getattr(library(), _WIDENING[kind])(source.ctypes.data, values.ctypes.data, count)
    return values


def finite(values: Floats) -> bool:
    """Whether no value is NaN or infinite."""
    # The sum of squares is a third cheaper than looking at each value, and is finite only if all are.
    return bool(np.isfinite(np.dot(values, values))) or bool(np.isfinite(values).all())


def quantize(kind: str, values: Floats, row: int, weights: Floats | None) -> Bytes:
    """Whole rows of `row` values as blocks of a type; `weights` has one importance per column.

    Raises ConvertError where ggml's own check finds the result unsound.
    """
    found = TYPES[kind]
    rows = len(values) // row
    out = np.empty(rows * (row // found.block_values) * found.block_bytes, np.uint8)
    packing = library(distribution_of(kind))
    written = packing.ggml_quantize_chunk(
        found.number,
        values.ctypes.data,
        out.ctypes.data,
        0,
        rows,
        row,
        None if weights is None else weights.ctypes.data,
    )
    if written != len(out) or not packing.ggml_validate_row_data(found.number, out.ctypes.data, len(out)):
        raise ConvertError(f"Quantizing to {kind} gave blocks that ggml finds unsound.")
    return out
