"""The tokens that a checkpoint's files add to its tokenizer's vocabulary."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.checkpoint.jsonfile import CONFIG_LIMIT, read_object
from modelmill.errors import ConvertError

MAX_TOKENS = 4_000_000
"""Ids above this are no vocabulary; it bounds what an id in a file can make anyone allocate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedToken:
    """A token beside the model's own vocabulary, matched in the text before it is split.

    `lstrip` and `rstrip` are whether the white space before and behind it goes with it.
    """

    id: int
    content: str
    special: bool
    normalized: bool
    lstrip: bool = False
    rstrip: bool = False


def added_tokens(
    definition: Mapping[str, Any], config: Mapping[str, Any], more: Mapping[str, int]
) -> tuple[AddedToken, ...]:
    """By id, of tokenizer.json, tokenizer_config.json and added_tokens.json, as the first of these has them."""
    found: dict[int, AddedToken] = {}
    for content, at in more.items():
        check_id(content, at, "added_tokens.json")
        found[at] = AddedToken(id=at, content=content, special=False, normalized=True)
    decoder = config.get("added_tokens_decoder", {})
    if not isinstance(decoder, dict) or not all(key.isdecimal() and len(key) < 10 for key in decoder):  # noqa: PLR2004 - int() stays cheap
        raise ConvertError("tokenizer_config.json: added_tokens_decoder does not map ids to tokens")
    listed = definition.get("added_tokens", [])
    if not isinstance(listed, list):
        raise ConvertError("tokenizer.json: added_tokens is not a list")
    for key, entry in decoder.items():
        token = _added_token(int(key), entry, "tokenizer_config.json")
        found[token.id] = token
    own: dict[int, str] = {}
    for entry in listed:
        token = _added_token(entry.get("id") if isinstance(entry, dict) else None, entry, "tokenizer.json")
        if own.setdefault(token.id, token.content) != token.content:
            raise ConvertError(
                f"tokenizer.json: the added tokens {own[token.id]!r:.80} and {token.content!r:.80} have the same id "
                f"{token.id}; give each an id of its own"
            )
        found[token.id] = token
    return tuple(token for _, token in sorted(found.items()))


def _added_token(at: Any, entry: Any, file: str) -> AddedToken:
    if not isinstance(entry, dict):
        raise ConvertError(f"{file}: {entry!r:.80} is not an added token")
    content = entry.get("content")
    check_id(content, at, file)
    return AddedToken(
        id=at,
        content=str(content),
        special=bool(entry.get("special", False)),
        normalized=bool(entry.get("normalized", True)),
        lstrip=bool(entry.get("lstrip", False)),
        rstrip=bool(entry.get("rstrip", False)),
    )


def added_tokens_file(folder: Path) -> Mapping[str, int]:
    """The content of added_tokens.json, if there is one."""
    path = folder / "added_tokens.json"
    return read_object(path, CONFIG_LIMIT) if path.is_file() else {}


def check_taken(added: Iterable[AddedToken], vocabulary: Mapping[int, str]) -> None:
    """An added token has no id that the vocabulary gives to another one. Otherwise ConvertError.

    The tokenizers library would move it to an id beyond all others, which the model has no embedding for. Beside a
    `tokenizer.model`, tokens may take the place of its pieces, and llama.cpp's script lets them.
    """
    for token in added:
        known = vocabulary.get(token.id, token.content)
        if known != token.content:
            raise ConvertError(
                f"tokenizer.json: the id {token.id} is {known!r:.80} in its vocabulary and the added token "
                f"{token.content!r:.80} too; give the added token an id of its own"
            )


def check_id(token: Any, at: Any, file: str) -> None:
    """ConvertError for what is no token or no id."""
    if not isinstance(token, str) or type(at) is not int or not 0 <= at < MAX_TOKENS:
        raise ConvertError(f"{file}: {token!r:.80} → {at!r:.20} is not a token and an id below {MAX_TOKENS:,}")
    try:
        token.encode()
    except UnicodeEncodeError:
        raise ConvertError(f"{file}: token {at} holds half of a surrogate pair") from None
