"""`tokenizer.model`: a SentencePiece vocabulary as the bytes that the SentencePiece library reads."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
"""SentencePiece's types of pieces (`ModelProto.SentencePiece.Type`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One entry of the vocabulary; its id is its position."""

    text: str
    score: float = 0.0
    kind: int = NORMAL


def serialise(pieces: Iterable[Piece], *, dummy_prefix: bool) -> bytes:
    """Write the vocabulary as a `ModelProto`: a BPE model with byte fallback and no normalization.

    Field numbers are those of sentencepiece_model.proto. `dummy_prefix` puts a space before every text, as
    Llama 2 does and Gemma does not.
    """
    entries = tuple(pieces)
    ids = {piece.text: index for index, piece in enumerate(entries)}
    trainer = b"".join(
        [
            _number(3, 2),  # model_type = BPE
            _number(4, len(entries)),
            _number(35, 1),  # byte_fallback
            _number(40, ids["<unk>"]),
            _number(41, ids.get("<s>", ids.get("<bos>", 0))),
            _number(42, ids.get("</s>", ids.get("<eos>", 0))),
        ]
    )
    normalizer = _text(1, "identity") + _number(3, int(dummy_prefix)) + _number(4, 0) + _number(5, 1)
    body = b"".join(
        _bytes(1, _text(1, piece.text) + _float(2, piece.score) + _number(3, piece.kind)) for piece in entries
    )
    return body + _bytes(2, trainer) + _bytes(3, normalizer)


def _varint(value: int) -> bytes:
    """Protocol Buffers' variable-length integer: seven bits a byte, the lowest first, the top bit where more follow."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
