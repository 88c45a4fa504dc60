"""What this plugin's steps tell each other about a GGUF model in its facts' `details`."""

from collections.abc import Iterable, Mapping
from typing import Any

from modelmill_gguf.fields import Field, ValueType, value
from modelmill_gguf.header import DEFAULT_ALIGNMENT
from modelmill_gguf.token_texts import TokenType
from modelmill_gguf.vocabulary import CHAT_TEMPLATE, MERGES, TOKENS, TYPES, Vocabulary


def gguf_details(
    fields: Iterable[Field], metadata_bytes: int, count: int, alignment: int = DEFAULT_ALIGNMENT
) -> dict[str, Any]:
    """`keys` has every scalar and text of the metadata but the chat templates; arrays are left out.

    But for `heads`, which only a model has whose numbers of heads differ from layer to layer.
    """
    fields = tuple(fields)
    keys = {
        field.key: value(field)
        for field in fields
        if field.kind is not ValueType.ARRAY and not field.key.startswith(CHAT_TEMPLATE)
    }
    heads = {
        field.key: value(field)
        for field in fields
        if field.kind is ValueType.ARRAY and ".attention.head_count" in field.key
    }
    found = {"metadata_bytes": metadata_bytes, "keys": keys, "n_kv": count, "alignment": alignment}
    return found | ({"heads": heads} if heads else {})


def tokenizer_details(vocabulary: Vocabulary) -> dict[str, Any]:
    """A vocabulary that is yet to be written."""
    texts = {field.key: value(field) for field in vocabulary.fields}
    merges = vocabulary.array_sizes.get(MERGES, 0)
    return {
        "model": vocabulary.model,
        "pre": texts["tokenizer.ggml.pre"],
        "tokens": vocabulary.rows,
        "token_bytes": vocabulary.array_sizes[TOKENS] - 8 * vocabulary.rows,
        "merges_size": merges,
        "special": [
            {"id": special.id, "text": special.text, "type": int(special.kind)} for special in vocabulary.specials
        ],
        "chat_template": texts.get(CHAT_TEMPLATE),
    }


def read_tokenizer_details(fields: Mapping[str, Field]) -> dict[str, Any] | None:
    """The same of a file's vocabulary; None where it has none, or none that is made as it should be."""
    model = _text(fields, "tokenizer.ggml.model")
    tokens = _array(fields, TOKENS, ValueType.STRING)
    if model is None or tokens is None:
        return None
    merges = _array(fields, MERGES, ValueType.STRING)
    return {
        "model": model,
        "pre": _text(fields, "tokenizer.ggml.pre") or "default",
        "tokens": tokens.count,
        "token_bytes": len(tokens.raw) - 8 * tokens.count,
        "merges_size": len(merges.raw) if merges else 0,
        "special": _special(tokens, _array(fields, TYPES, ValueType.INT32)),
        "chat_template": _text(fields, CHAT_TEMPLATE),
    }


def _text(fields: Mapping[str, Field], key: str) -> str | None:
    field = fields.get(key)
    return value(field) if field is not None and field.kind is ValueType.STRING else None


def _array(fields: Mapping[str, Field], key: str, element: ValueType) -> Field | None:
    field = fields.get(key)
    return field if field is not None and field.element is element else None


def _special(tokens: Field, types: Field | None) -> list[dict[str, Any]]:
    kinds = value(types) if types else []
    wanted = {int(TokenType.CONTROL), int(TokenType.USER_DEFINED)}
    if not wanted.intersection(kinds):
        return []
    texts = value(tokens)
    return [
        {"id": at, "text": texts[at], "type": kind} for at, kind in enumerate(kinds[: len(texts)]) if kind in wanted
    ]
