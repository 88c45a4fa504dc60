"""Reading of sentencepiece's `tokenizer.model` without sentencepiece.

The file is a protobuf message `ModelProto` (sentencepiece/src/sentencepiece_model.proto): field 1 repeated
piece {1 text, 2 float score, 3 type}, field 2 trainer_spec, field 3 normalizer_spec. Of these, what is read is what
decides which tokens a text becomes.
"""

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from modelmill.errors import ConvertError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
NORMAL = 1
"""The type of an ordinary piece; 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte, as in GGUF."""
_MODELS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One entry of the vocabulary; its position is its id."""

    text: str
    score: float
    type: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceSettings:
    """How a model splits and prepares a text. Where the file is silent, sentencepiece's own defaults hold.

    `model` is the algorithm (`bpe`, `unigram`, …), `charsmap` the bytes of a table that rewrites characters, which
    is how NFKC and the like are stored; `normalizer` is the name that the trainer was given for it.
    """

    model: str = "unigram"
    byte_fallback: bool = False
    whitespace_as_suffix: bool = False
    normalizer: str = ""
    charsmap: int = 0
    dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True


def parse_settings(data: bytes, where: str) -> SentencePieceSettings:
    """What a model says of itself. ConvertError for anything that is not one."""
    found: dict[str, Any] = {}
    try:
        for message, content in _fields(data):
            if message not in (2, 3):
                continue
            for number, value in _fields(bytes(content)):
                name, read = _SETTINGS.get((message, number), (None, None))
                if name is not None and read is not None:
                    found[name] = read(bytes(value))
    except (IndexError, ValueError):
        raise ConvertError(f"{where}: is not a sentencepiece model") from None
    return SentencePieceSettings(**found)


def _model(value: bytes) -> str:
    number = int.from_bytes(value, "little")
    return _MODELS.get(number, str(number))


def _flag(value: bytes) -> bool:
    return any(value)


_SETTINGS: dict[tuple[int, int], tuple[str, Callable[[bytes], Any]]] = {
    (2, 3): ("model", _model),
    (2, 24): ("whitespace_as_suffix", _flag),
    (2, 35): ("byte_fallback", _flag),
    (3, 1): ("normalizer", bytes.decode),
    (3, 2): ("charsmap", len),
    (3, 3): ("dummy_prefix", _flag),
    (3, 4): ("remove_extra_whitespaces", _flag),
    (3, 5): ("escape_whitespaces", _flag),
}


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
