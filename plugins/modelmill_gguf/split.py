"""Split files: which tensors go into which file, and what each file says of the others.

Source: llama.cpp's gguf-split.
"""

import re
from collections.abc import Sequence

from modelmill import ConvertError, Tensor
from modelmill_gguf.fields import Field, ValueType, scalar
from modelmill_gguf.tensor_types import byte_size
from modelmill_gguf.writer import padded

SINGLE = "model.gguf"
NUMBER = "split.no"
COUNT = "split.count"
TENSOR_COUNT = "split.tensors.count"
KEYS = frozenset({NUMBER, COUNT, TENSOR_COUNT})
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_MOST = 65_535
_NAME = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")


def parse_size(text: str) -> int:
    """Bytes from a number with K, M or G (powers of 1000), as llama.cpp's tools take it."""
    match = re.fullmatch(r"(\d{1,9})([KMG]?)", text)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not size:
        raise ConvertError(f"split_max_size is {text!r}; it must be a number of bytes, or of K, M or G, such as 2G.")
    return size


def most_bytes(split_max_size: str | None) -> int | None:
    """The bytes of tensors in a split file; None for one file. Raises ConvertError for what is no size."""
    return None if split_max_size is None else parse_size(split_max_size)


def groups(tensors: Sequence[Tensor], most: int | None) -> list[Sequence[Tensor]]:
    """The tensors of each file in order, so that no file holds more than `most` bytes of them.

    A tensor that is larger than that alone gets a file of its own.
    """
    if most is None:
        return [tensors]
    found: list[list[Tensor]] = [[]]
    used = 0
    for tensor in tensors:
        size = padded(byte_size(tensor.dtype, tensor.shape))
        if found[-1] and used + size > most:
            found.append([])
            used = 0
        found[-1].append(tensor)
        used += size
    if len(found) > _MOST:
        raise ConvertError(f"split_max_size makes {len(found)} files, and GGUF counts to {_MOST}; choose a larger one.")
    return list(found)


def file_name(at: int, count: int) -> str:
    """The name of the file with this number, from 0."""
    return SINGLE if count == 1 else f"model-{at + 1:05d}-of-{count:05d}.gguf"


def fields(at: int, count: int, tensors: int) -> list[Field]:
    """What a split file says of its place among `count` files with `tensors` tensors together."""
    if count == 1:
        return []
    return [
        scalar(NUMBER, ValueType.UINT16, at),
        scalar(COUNT, ValueType.UINT16, count),
        scalar(TENSOR_COUNT, ValueType.INT32, tensors),
    ]


def numbered(name: str) -> tuple[str, int, int] | None:
    """The stem, number (from 0) and count that a split file's name says; None for another name."""
    match = _NAME.match(name)
    return (match[1], int(match[2]) - 1, int(match[3])) if match else None


def artifact_path(path: str, name: str, scheme: str) -> str:
    """A result's file in an artifact: NAME-SCHEME.gguf, with its number where the model is split."""
    place = numbered(path)
    if place is None:
        return f"{name}-{scheme}.gguf" if path.endswith(".gguf") else path
    _, at, count = place
    return f"{name}-{scheme}-{at + 1:05d}-of-{count:05d}.gguf"
