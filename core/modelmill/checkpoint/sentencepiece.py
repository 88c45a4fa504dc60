"""Reading of sentencepiece's `tokenizer.model` without sentencepiece.

The file is a protobuf message `ModelProto` (sentencepiece/src/sentencepiece_model.proto): field 1 repeated
piece {1 text, 2 float score, 3 type}. Only these are read.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from modelmill.errors import ConvertError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
NORMAL = 1
"""The type of an ordinary piece; 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte, as in GGUF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One entry of the vocabulary; its position is its id."""

    text: str
    score: float
    type: int


def parse_sentencepiece(data: bytes, where: str) -> tuple[Piece, ...]:
    """The pieces of a model in the order of their ids. ConvertError for anything that is not one."""
    try:
        pieces = tuple(_piece(bytes(value)) for number, value in _fields(data) if number == 1)
    except (IndexError, ValueError, struct.error, TypeError):
        raise ConvertError(f"{where}: is not a sentencepiece model") from None
    if not pieces:
        raise ConvertError(f"{where}: holds no pieces: it is not a sentencepiece model")
    return pieces


def _piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in _fields(data):
        if number == 1:
            text = bytes(value).decode()
        elif number == 2:  # noqa: PLR2004 - the proto's field numbers
            (score,) = struct.unpack("<f", bytes(value))
        elif number == 3:  # noqa: PLR2004
            kind = int.from_bytes(bytes(value), "little")
    if not math.isfinite(score) or not 1 <= kind <= 6:  # noqa: PLR2004 - the proto's enum
        raise ValueError
    return Piece(text=text, score=score, type=kind)


def _fields(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Field numbers and raw values of one message; a varint as its eight little-endian bytes."""
    view, at = memoryview(data), 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield key >> 3, memoryview((number & (2**64 - 1)).to_bytes(8, "little"))
            continue
        if kind == _LENGTH:
            length, at = _varint(data, at)
        elif kind == _FIXED32:
            length = 4
        elif kind == _FIXED64:
            length = 8
        else:
            raise ValueError(kind)
        if at + length > len(data):
            raise ValueError(length)
        yield key >> 3, view[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:  # noqa: PLR2004 - ten bytes of seven bits hold any varint
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the high bit says that more follows
            return value, at
        shift += 7
    raise ValueError(value)
