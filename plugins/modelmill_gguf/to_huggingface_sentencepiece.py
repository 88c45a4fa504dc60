"""A sentencepiece vocabulary from GGUF, as the merges and the model file that it was made of.

Source: sentencepiece/src/sentencepiece_model.proto, and transformers' `convert_slow_tokenizer.py`
(`generate_merges`), which turns scores into merges in the same way.
"""

import struct
from collections.abc import Sequence

from modelmill_gguf.token_texts import TokenType

_BPE = 2
_VARINT, _LENGTH, _FIXED32 = 0, 2, 5
Role = tuple[int, str]


def merges_of(tokens: Sequence[str], types: Sequence[int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """All pairs that join to a token, the pair of the highest score first; equal scores by the parts' ids."""
    ids = {text: at for at, text in enumerate(tokens)}
    found: list[tuple[float, list[tuple[int, int, str, str]]]] = []
    for at, text in enumerate(tokens):
        if types[at] != TokenType.NORMAL or len(text) < 2:  # noqa: PLR2004 - one character has no parts
            continue
        pairs = [
            (ids[text[:cut]], ids[text[cut:]], text[:cut], text[cut:])
            for cut in range(1, len(text))
            if text[:cut] in ids and text[cut:] in ids
        ]
        found.append((-scores[at], sorted(pairs)))
    found.sort(key=lambda entry: entry[0])
    return [(left, right) for _, pairs in found for _, _, left, right in pairs]


def model_file(
    tokens: Sequence[str],
    types: Sequence[int],
    scores: Sequence[float],
    *,
    roles: Sequence[Role],
    add_space_prefix: bool,
) -> bytes:
    """`tokenizer.model`; `roles` are id and text of the unknown, begin, end and padding tokens, -1 for none."""
    pack = struct.Struct("<f").pack
    parts = []
    for text, kind, score in zip(tokens, types, scores, strict=True):
        piece = _bytes(1, text.encode()) + _key(2, _FIXED32) + pack(score)
        if kind != TokenType.NORMAL:
            piece += _number(3, kind)
        parts.append(_bytes(1, piece))
    trainer = _number(3, _BPE) + _number(4, len(tokens)) + _number(25, 1) + _number(26, 1) + _number(35, 1)
    for field, (at, _) in zip((40, 41, 42, 43), roles, strict=False):
        trainer += _number(field, at)
    for field, (_, text) in zip((45, 46, 47, 48), roles, strict=False):
        trainer += _bytes(field, text.encode())
    normalizer = _bytes(1, b"identity") + _number(3, int(add_space_prefix)) + _number(4, 0) + _number(5, 1)
    return b"".join(parts) + _bytes(2, trainer) + _bytes(3, normalizer)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, number: int) -> bytes:
    return _key(field, _VARINT) + _varint(number & (2**64 - 1))


def _bytes(field: int, data: bytes) -> bytes:
    return _key(field, _LENGTH) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
