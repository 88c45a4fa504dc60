"""The file beside an ONNX model that holds its weights, written once from front to back."""

from pathlib import Path
from typing import Any, Final, Protocol

import onnx

from modelmill import ConvertError
from modelmill_onnx.blocks import Array

_SMALL: Final = 1024**2
_ALIGN_SMALL: Final = 64
_ALIGN_LARGE: Final = 4096
"""ONNX Runtime maps a weight into memory where its offset is a multiple of the page size."""


class Writer(Protocol):
    """A file that is written from front to back."""

    def write(self, data: Any, /) -> int:
        """Append bytes."""

    def tell(self) -> int:
        """The number of bytes so far."""


class ExternalData:
    """`<model>.data`, open for writing; every tensor starts at an aligned offset."""

    def __init__(self, file: Writer, name: str) -> None:
        self._file = file
        self._name = name

    def append(self, name: str, dtype: int, shape: tuple[int, ...], data: Any) -> onnx.TensorProto:
        """Write a tensor's bytes (a buffer of them) and return the tensor that refers to them."""
        align = _ALIGN_LARGE if len(data) >= _SMALL else _ALIGN_SMALL
        self._file.write(bytes(-self._file.tell() % align))
        tensor = onnx.TensorProto(name=name, data_type=dtype, dims=shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", self._name), ("offset", self._file.tell()), ("length", len(data))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        self._file.write(data)
        return tensor

    def append_array(self, name: str, array: Array) -> onnx.TensorProto:
        """Write a numpy array."""
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        contiguous = array if array.flags.c_contiguous else array.copy()
        return self.append(name, dtype, array.shape, contiguous.reshape(-1).view("uint8").data)


def weight_bytes(tensor: onnx.TensorProto, folder: Path) -> Array:
    """A tensor's bytes, mapped from its file; the folder was validated."""
    import numpy as np

    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return np.frombuffer(onnx.numpy_helper.to_array(tensor).tobytes(), np.uint8)
    place = {entry.key: entry.value for entry in tensor.external_data}
    offset = int(place.get("offset", "0"))
    path = folder / place["location"]
    length = int(place["length"]) if "length" in place else path.stat().st_size - offset
    return np.memmap(path, np.uint8, "r", offset, (length,)) if length else np.zeros(0, np.uint8)


def weight_values(tensor: onnx.TensorProto, folder: Path) -> Array:
    """A tensor's values, without a copy. ConvertError where a float is not a finite number."""
    import numpy as np

    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    values = weight_bytes(tensor, folder).view(dtype).reshape(tuple(tensor.dims))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ConvertError(f"the weight {tensor.name!r} holds values that are not finite numbers; its file is damaged")
    return values
