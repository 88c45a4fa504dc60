"""The metadata of a GGUF file: typed values under keys, and their exact bytes.

Source: ggml's docs/gguf.md, version 3, little-endian. The `gguf` package writes these too, but it holds every
array as a Python list of boxed values and packs element by element; a vocabulary of 262,144 tokens takes
seconds there and a fraction of one here, and its import alone costs more than converting a small model.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Any

Buffer = bytes | bytearray | memoryview


class ValueType(IntEnum):
    """`enum gguf_type`."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


# The struct code of each scalar; GGUF stores a boolean as one byte.
CODES = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "?",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
SIZES = {kind: struct.calcsize("<" + code) for kind, code in CODES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key of the metadata.

    `raw` is the value as the file has it: a scalar's bytes, a string with its length before it, or an array's
    elements without the array's own type and count, which stand in `element` and `count`.
    """

    key: str
    kind: ValueType
    raw: bytes
    element: ValueType | None = None
    count: int = 0


def scalar(key: str, kind: ValueType, value: float) -> Field:
    """A number or a boolean."""
    return Field(key=key, kind=kind, raw=struct.pack("<" + CODES[kind], value))


def uint32(key: str, value: int) -> Field:
    """A count, a size or an id."""
    return scalar(key, ValueType.UINT32, value)


def float32(key: str, value: float) -> Field:
    """A real number; it is rounded to single precision."""
    return scalar(key, ValueType.FLOAT32, value)


def boolean(key: str, *, value: bool) -> Field:
    """A flag."""
    return scalar(key, ValueType.BOOL, value)


def string(key: str, value: str) -> Field:
    """A text."""
    return Field(key=key, kind=ValueType.STRING, raw=pack_string(value.encode()))


def strings(key: str, values: Sequence[str | bytes]) -> Field:
    """An array of texts."""
    return Field(
        key=key,
        kind=ValueType.ARRAY,
        element=ValueType.STRING,
        count=len(values),
        raw=_joined([each.encode() if isinstance(each, str) else each for each in values]),
    )


def numbers(key: str, element: ValueType, values: Sequence[float]) -> Field:
    """An array of numbers or booleans."""
    raw = struct.pack(f"<{len(values)}{CODES[element]}", *values)
    return Field(key=key, kind=ValueType.ARRAY, element=element, count=len(values), raw=raw)


def pack_string(data: bytes) -> bytes:
    """A string as GGUF stores it: its length in 8 bytes, then its bytes."""
    return struct.pack("<Q", len(data)) + data


def _joined(texts: list[bytes]) -> bytes:
    """The texts with their lengths before them, put together without a loop in Python."""
    lengths = map(struct.Struct("<Q").pack, map(len, texts))
    return b"".join(chain.from_iterable(zip(lengths, texts, strict=True)))


def packed(field: Field) -> bytes:
    """The field as the file has it: key, type and value."""
    head = pack_string(field.key.encode()) + struct.pack("<I", field.kind)
    if field.kind is ValueType.ARRAY:
        head += struct.pack("<IQ", field.element or 0, field.count)
    return head + field.raw


def packed_size(field: Field) -> int:
    """The bytes that `packed` gives."""
    return frame_size(field.key, is_array=field.kind is ValueType.ARRAY) + len(field.raw)


def frame_size(key: str, *, is_array: bool) -> int:
    """The bytes of a field around its value."""
    return 8 + len(key.encode()) + 4 + (12 if is_array else 0)


def value(field: Field) -> Any:
    """What the field holds: a number, a boolean, a text, or a list of them.

    A text that is no UTF-8 comes with its odd bytes as surrogates, so that encoding it gives the same bytes.
    """
    if field.kind is ValueType.STRING:
        return field.raw[8:].decode(errors="surrogateescape")
    if field.kind is not ValueType.ARRAY:
        return struct.unpack("<" + CODES[field.kind], field.raw)[0]
    if field.element is ValueType.STRING:
        return list(_texts(field))
    code = CODES[field.element or ValueType.UINT8]
    return list(struct.unpack(f"<{field.count}{code}", field.raw))


def _texts(field: Field) -> Iterable[str]:
    raw = field.raw
    length_at = struct.Struct("<Q").unpack_from
    position = 0
    for _ in range(field.count):
        end = position + 8 + length_at(raw, position)[0]
        yield raw[position + 8 : end].decode(errors="surrogateescape")
        position = end
