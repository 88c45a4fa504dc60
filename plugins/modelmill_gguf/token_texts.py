"""Texts and types of tokens as llama.cpp wants them, the same for plans and for the work itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any

from modelmill import ConvertError

_WORD_START = "\u2581"
_WIDE_BAR = "\uff5c"


class TokenType(IntEnum):
    """`enum llama_token_type`, and sentencepiece's own numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """An added token as it goes into the file."""

    id: int
    text: str
    kind: TokenType


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes: the printable ones of Latin-1 stand for themselves."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(256 + at): byte for at, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


def specials(
    summary: Mapping[str, Any], rows: int, drops: tuple[str, ...], *, as_stated: bool = False
) -> list[Special]:
    """The added tokens of a tokenizer's summary for a model with `rows` embeddings, by id.

    `as_stated` takes what the files say of a token for true, whatever it looks like. Raises ConvertError for ids
    beyond the rows, unless all are tokens that `drops` names.
    """
    listed = summary["added_tokens"]
    beyond = [token for token in listed if token["id"] >= rows]
    dropped = all(token["content"] in drops for token in beyond)
    if summary["size"] > rows and not (dropped and summary["size"] - len(beyond) <= rows):
        named = f", such as {beyond[0]['content']!r} ({beyond[0]['id']})" if beyond else ""
        raise ConvertError(
            f"The tokenizer has ids up to {summary['size'] - 1}{named}, but the model has {rows} embeddings; "
            "resize the model's embeddings or use the tokenizer that it was trained with."
        )
    is_bytes = summary["pieces"] is None and not _has_byte_fallback(summary)
    read = _stated if as_stated and not is_bytes else partial(_special, is_bytes=is_bytes)
    return [read(token) for token in listed if token["id"] < rows]


def _has_byte_fallback(summary: Mapping[str, Any]) -> bool:
    model = summary["definition"].get("model")
    return bool(isinstance(model, Mapping) and model.get("byte_fallback"))


def _stated(token: Mapping[str, Any]) -> Special:
    kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    return Special(id=token["id"], text=token["content"], kind=kind)


def _special(token: Mapping[str, Any], *, is_bytes: bool) -> Special:
    text: str = token["content"]
    if is_bytes and not token["normalized"]:
        text = _decoded(text)
    if token["special"] or _looks_special(text):
        return Special(id=token["id"], text=text, kind=TokenType.CONTROL)
    # llama.cpp compares these with the text as it stands, before spaces become word starts.
    return Special(id=token["id"], text=text.replace(_WORD_START, " "), kind=TokenType.USER_DEFINED)


def _decoded(text: str) -> str:
    """What decoding gives for a token of a byte-level vocabulary: the bytes that it spells, if it spells any."""
    if not all(letter in _ALPHABET for letter in text):
        return text
    return bytes(_ALPHABET[letter] for letter in text).decode(errors="replace")


def _looks_special(text: str) -> bool:
    """Some models do not mark tokens as special that are. Source: llama.cpp's conversion script, which knows these."""
    return (
        text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith(f"<{_WIDE_BAR}") and text.endswith(f"{_WIDE_BAR}>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )


def padding(at: int) -> str:
    """The text of a row of the embedding that no token has."""
    return f"[PAD{at}]"
