"""The format `bitnet`: a GGUF file whose ternary tensors are of bitnet.cpp's type I2_S, in a layout that it names."""

import mmap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Facts, Tensor, TensorData
from modelmill_bitnet.layout import I2_S, I2_S_BLOCKS, VARIANT_KEY
from modelmill_gguf import api

_KINDS = {**api.BY_NUMBER, api.I2_S.number: api.I2_S}
_ARCHITECTURES = ("bitnet", "bitnet-b1.58")
_REQUIRED = ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count")


def detect(folder: Path) -> bool:
    """Whether a folder holds one GGUF file with I2_S tensors."""
    paths = sorted(folder.glob("*.gguf"))
    if len(paths) != 1:
        return False
    try:
        return any(info.kind == I2_S for info in api.read_header(paths[0], _KINDS).tensors)
    except (ConvertError, OSError):
        return False


def facts(folder: Path) -> Facts:
    """What is known of the model from its header. ConvertError for a file that is not sound."""
    path, header = _open(folder)
    return Facts(
        format="bitnet",
        scheme=I2_S,
        architecture=_text(header, "general.architecture"),
        tensors=tuple(info.tensor for info in header.tensors),
        files={path.name: header.file_size},
        quantization=I2_S,
        details={I2_S: variant(folder)},
    )


def variant(folder: Path) -> str:
    """The layout of the I2_S tensors. ConvertError where the file does not say a known one."""
    path, header = _open(folder)
    found = _text(header, VARIANT_KEY)
    if found is None or found not in I2_S_BLOCKS:
        raise ConvertError(f"{path.name}: {VARIANT_KEY} is {found!r}, not one of {', '.join(I2_S_BLOCKS)}")
    return found


def validate(folder: Path) -> None:
    """Read the whole file: keys, sizes, every code and every scale. ConvertError for what is not sound."""
    path, header = _open(folder)
    architecture = _text(header, "general.architecture")
    if architecture not in _ARCHITECTURES:
        raise ConvertError(f"{path.name}: general.architecture is {architecture!r}, not {' or '.join(_ARCHITECTURES)}")
    for key in _REQUIRED:
        if f"{architecture}.{key}" not in header.fields:
            raise ConvertError(f"{path.name} lacks {architecture}.{key}")
    if not any(info.kind == I2_S for info in header.tensors):
        raise ConvertError(f"{path.name} holds no tensor of type I2_S")
    for data in tensors(folder):
        if data.tensor.dtype == I2_S:
            data.values()


def tensors(folder: Path) -> Iterator[TensorData]:
    """Every tensor; the values of an I2_S tensor are its codes less one, times its scale."""
    path, header = _open(folder)
    layout = variant(folder)
    with path.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    for info in header.tensors:
        raw = content[info.offset : info.offset + info.size]
        tensor = info.tensor
        yield TensorData(tensor=tensor, raw=raw, values=partial(_values, raw, tensor, layout))


def _values(raw: memoryview, tensor: Tensor, layout: str) -> Any:
    import numpy as np

    from modelmill_bitnet.formats import unpack_i2_s
    from modelmill_bitnet.ternary import widened

    if tensor.dtype != I2_S:
        return widened(raw, tensor.dtype).reshape(tensor.shape)
    if tensor.shape[-1] % I2_S_BLOCKS[layout]:
        raise ConvertError(f"tensor {tensor.name!r} has rows of {tensor.shape[-1]}, which {layout} cannot hold")
    try:
        codes, scale = unpack_i2_s(np.frombuffer(raw, np.uint8), layout)
    except ConvertError as error:
        raise ConvertError(f"tensor {tensor.name!r}: {error}") from None
    if not np.isfinite(scale) or scale <= 0:
        raise ConvertError(f"tensor {tensor.name!r} has the scale {scale}; a scale is a positive number")
    return ((codes.astype(np.float32) - 1) * np.float32(scale)).reshape(tensor.shape)


def _open(folder: Path) -> tuple[Path, api.Header]:
    paths = sorted(folder.glob("*.gguf"))
    if len(paths) != 1:
        raise ConvertError(f"there are {len(paths)} .gguf files here, and a model for bitnet.cpp is one")
    return paths[0], api.read_header(paths[0], _KINDS)


def _text(header: api.Header, key: str) -> str | None:
    field = header.fields.get(key)
    found = None if field is None else api.value(field)
    return found if isinstance(found, str) else None
