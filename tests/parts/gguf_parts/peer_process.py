"""llama.cpp's own quantizer, called through llama-cpp-python; runs in the process that llama.cpp has to itself."""

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

_QUIET = llama_cpp.llama_log_callback(lambda *_: None)


def file_type(scheme: str) -> int:
    return int(getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{scheme}"))


def tensor_type(kind: str) -> int:
    return int(getattr(llama_cpp, f"GGML_TYPE_{kind}"))


def quantize(
    source: Path,
    out: Path,
    scheme: str,
    *,
    threads: int = 2,
    imatrix: Mapping[str, np.ndarray[Any, Any]] | None = None,
    tensor_types: Sequence[str] = (),
    keys: Sequence[tuple[str, str | int]] = (),
    **settings: Any,
) -> bool:
    """Quantize with llama.cpp; whether it did."""
    llama_cpp.llama_log_set(_QUIET, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype = threads, file_type(scheme)
    for name, value in settings.items():
        setattr(params, name, value)
    kept: list[Any] = []
    if imatrix is not None:
        params.imatrix, arrays = _imatrix(imatrix)
        kept.append(arrays)
    if tensor_types:
        patterns = [text.rsplit("=", 1) for text in tensor_types]
        overrides = (llama_cpp.llama_model_tensor_override * (len(patterns) + 1))()
        for item, (pattern, kind) in zip(overrides, patterns, strict=False):
            item.pattern, item.type = pattern.encode(), tensor_type(kind)
        params.tt_overrides = ctypes.cast(overrides, ctypes.POINTER(llama_cpp.llama_model_tensor_override))
        kept.append(overrides)
    if keys:
        fields = (llama_cpp.llama_model_kv_override * (len(keys) + 1))()
        for item, (key, value) in zip(fields, keys, strict=False):
            item.key = key.encode()
            if isinstance(value, int):
                item.tag, item.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
            else:
                item.tag, item.value.val_str = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
        params.kv_overrides = ctypes.cast(fields, ctypes.POINTER(llama_cpp.llama_model_kv_override))
        kept.append(fields)
    failed = llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params))
    kept.clear()
    return not failed


def _imatrix(imatrix: Mapping[str, np.ndarray[Any, Any]]) -> tuple[Any, Any]:
    data = (llama_cpp.llama_model_imatrix_data * (len(imatrix) + 1))()
    kept: list[Any] = [data]
    for item, (name, values) in zip(data, imatrix.items(), strict=False):
        floats = np.ascontiguousarray(values, np.float32)
        kept.append(floats)
        item.name, item.size = name.encode(), floats.size
        item.data = ctypes.cast(floats.ctypes.data, ctypes.POINTER(ctypes.c_float))
    return ctypes.cast(data, ctypes.POINTER(llama_cpp.llama_model_imatrix_data)), kept
