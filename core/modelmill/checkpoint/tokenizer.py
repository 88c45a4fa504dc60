"""A checkpoint's tokenizer as data: the vocabulary for converters, and a summary that predicts from it.

Read from `tokenizer.json` (the tokenizers library's serialisation), `tokenizer_config.json`,
`added_tokens.json`, `chat_template.jinja` and sentencepiece's `tokenizer.model`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modelmill.checkpoint.added_tokens import AddedToken, added_tokens, added_tokens_file, check_id, check_taken
from modelmill.checkpoint.jsonfile import (
    CONFIG_LIMIT,
    TOKENIZER_LIMIT,
    read_bytes,
    read_object,
)
from modelmill.checkpoint.sentencepiece import Piece, SentencePieceSettings, parse_sentencepiece, parse_settings
from modelmill.checkpoint.templates import DEFAULT, named_templates
from modelmill.errors import ConvertError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """What a checkpoint's tokenizer files say.

    `tokens` is tokenizer.json's model vocabulary by id, without `added`. `pieces` is `tokenizer.model`, `settings`
    what that file says of itself.
    `definition` is tokenizer.json without vocabulary, merges and added tokens; `config` is
    tokenizer_config.json without the added tokens and the chat template. `named_templates` are chat templates beside
    the default one, for tool use and the like.
    """

    model: str | None
    tokens: Mapping[int, str] = field(default_factory=dict)
    merges: tuple[tuple[str, str], ...] = ()
    added: tuple[AddedToken, ...] = ()
    pieces: tuple[Piece, ...] = ()
    settings: SentencePieceSettings | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    chat_template: str | None = None
    named_templates: Mapping[str, str] = field(default_factory=dict)


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a checkpoint; None where it has none. ConvertError for files that are not sound."""
    definition: dict[str, Any] = {}
    config: dict[str, Any] = {}
    pieces: tuple[Piece, ...] = ()
    settings: SentencePieceSettings | None = None
    if (folder / "tokenizer.json").is_file():
        definition = read_object(folder / "tokenizer.json", TOKENIZER_LIMIT)
    if (folder / "tokenizer_config.json").is_file():
        config = read_object(folder / "tokenizer_config.json", CONFIG_LIMIT)
    if (folder / "tokenizer.model").is_file():
        data = read_bytes(folder / "tokenizer.model", TOKENIZER_LIMIT)
        pieces = parse_sentencepiece(data, "tokenizer.model")
        settings = parse_settings(data, "tokenizer.model")
    if not definition and not pieces:
        return None
    named = named_templates(folder, config)
    template = named.pop(DEFAULT, None)
    tokenizer = parse_tokenizer(definition, config, pieces, template, added_tokens_file(folder))
    return replace(tokenizer, settings=settings, named_templates=named)


def parse_tokenizer(
    definition: Mapping[str, Any],
    config: Mapping[str, Any],
    pieces: tuple[Piece, ...] = (),
    chat_template: str | None = None,
    more: Mapping[str, int] | None = None,
) -> Tokenizer:
    """The same from files' contents; `more` is added_tokens.json. ConvertError for content of other shapes."""
    model = definition.get("model", {})
    if not isinstance(model, dict):
        raise ConvertError("tokenizer.json: its model is not an object")
    added = added_tokens(definition, config, more or {})
    taken = {token.id for token in added}
    vocabulary = _vocabulary(model)
    if not pieces:
        check_taken(added, vocabulary)
    return Tokenizer(
        model=model.get("type") if definition else None,
        tokens={at: token for at, token in sorted(vocabulary.items()) if at not in taken},
        merges=_merges(model.get("merges", [])),
        added=added,
        pieces=pieces,
        definition={
            **{key: value for key, value in definition.items() if key not in ("model", "added_tokens")},
            "model": {key: value for key, value in model.items() if key not in ("vocab", "merges")},
        },
        config={key: value for key, value in config.items() if key not in ("added_tokens_decoder", "chat_template")},
        chat_template=chat_template,
    )


def summarize(tokenizer: Tokenizer) -> dict[str, Any]:
    """What a converter needs to predict a tokenizer's size in another format, without the vocabulary.

    Plain data. `normal` counts the ids of the model's vocabulary that no added token takes, and the UTF-8
    bytes of their tokens as tokenizer.json spells them; `pieces` does the same for `tokenizer.model`, and
    `settings` is what that file says of itself; `merges` has the bytes of each pair joined with one space.
    `size` is the highest id plus one, `gaps` are the ranges [first, end) of ids below it that no token has.
    """
    added = {token.id for token in tokenizer.added}
    ids = added | tokenizer.tokens.keys() | set(range(len(tokenizer.pieces)))
    pieces = [piece.text for at, piece in enumerate(tokenizer.pieces) if at not in added]
    return {
        "model": tokenizer.model,
        "normal": _total(tokenizer.tokens.values()),
        "merges": _total(f"{left} {right}" for left, right in tokenizer.merges),
        "pieces": _total(pieces) if tokenizer.pieces else None,
        "settings": asdict(tokenizer.settings) if tokenizer.settings else None,
        "size": max(ids, default=-1) + 1,
        "gaps": _gaps(sorted(ids)),
        "added_tokens": [
            {
                "id": token.id,
                "content": token.content,
                "special": token.special,
                "normalized": token.normalized,
                "lstrip": token.lstrip,
                "rstrip": token.rstrip,
            }
            for token in tokenizer.added
        ],
        "definition": dict(tokenizer.definition),
        "pre": pre_digest(tokenizer.definition),
        "config": dict(tokenizer.config),
        "chat_template": tokenizer.chat_template,
        "named_templates": dict(tokenizer.named_templates),
    }


def pre_digest(definition: Mapping[str, Any]) -> str:
    """The sha256 of how a tokenizer prepares text before its model sees it: normalizer and pre-tokenizer."""
    parts = {key: definition.get(key) for key in ("normalizer", "pre_tokenizer")}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _total(texts: Iterable[str]) -> dict[str, int]:
    sizes = [len(text.encode()) for text in texts]
    return {"count": len(sizes), "bytes": sum(sizes)}


def _gaps(ids: list[int]) -> list[list[int]]:
    edges = [-1, *ids]
    return [[a + 1, b] for a, b in zip(edges, ids, strict=False) if b > a + 1]


def _vocabulary(model: Mapping[str, Any]) -> dict[int, str]:
    vocabulary = model.get("vocab", {})
    if isinstance(vocabulary, list):  # Unigram: [[token, score], …]
        try:
            pairs = [(token, at) for at, (token, _) in enumerate(vocabulary)]
        except (TypeError, ValueError):
            raise ConvertError("tokenizer.json: its vocabulary is not a list of token and score") from None
    elif isinstance(vocabulary, dict):
        pairs = list(vocabulary.items())
    else:
        raise ConvertError("tokenizer.json: its model has no vocabulary")
    found: dict[int, str] = {}
    for token, at in pairs:
        check_id(token, at, "tokenizer.json")
        if at in found:
            raise ConvertError(f"tokenizer.json: the tokens {found[at]!r} and {token!r} have the same id {at}")
        found[at] = token
    return found


def _merges(merges: Any) -> tuple[tuple[str, str], ...]:
    """Both spellings: "a b", and since tokenizers 0.20 ["a", "b"], where a part may hold a space."""
    found: list[tuple[str, str]] = []
    for merge in merges if isinstance(merges, list) else (merges,):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)):  # noqa: PLR2004
            raise ConvertError(f"tokenizer.json: {merge!r:.80} is not a merge of two tokens")
        found.append((parts[0], parts[1]))
    return tuple(found)
