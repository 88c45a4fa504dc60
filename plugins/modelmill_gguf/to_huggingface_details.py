"""What a GGUF header tells about the checkpoint that it was made of, as small plain data for plans."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from json.encoder import encode_basestring
from typing import Any

from modelmill import ConvertError
from modelmill.checkpoint import parse_settings
from modelmill_gguf.fields import Field, ValueType, value
from modelmill_gguf.to_huggingface_sentencepiece import merges_of, model_file
from modelmill_gguf.token_texts import TokenType

TOKENIZER = "tokenizer.ggml."
_ARRAYS = tuple(TOKENIZER + name for name in ("tokens", "scores", "token_type", "merges"))
_LONGEST_ARRAY = 1024
_ADDED = (TokenType.CONTROL, TokenType.USER_DEFINED)


def describe(fields: Mapping[str, Field]) -> dict[str, Any]:
    """The `metadata` (all fields but the vocabulary) and the `vocabulary` in figures; see `figures`.

    A header without a tokenizer has None as its vocabulary. One that contradicts itself, which other steps may
    not care about, has the `problem` instead.
    """
    metadata = {key: _small(field) for key, field in fields.items() if key not in _ARRAYS}
    try:
        words = read_words(fields)
        vocabulary = figures(words, metadata) if words else None
    except ConvertError as error:
        return {"problem": str(error)}
    return {
        "metadata": {key: content for key, content in metadata.items() if content is not None},
        "vocabulary": vocabulary,
    }


def _small(field: Field) -> Any:
    if field.kind is ValueType.ARRAY and field.count > _LONGEST_ARRAY:
        return None
    return value(field)


class Words:
    """The vocabulary of a header: tokens, types and scores by id, and merges."""

    __slots__ = ("merges", "scores", "tokens", "types")

    def __init__(self, tokens: list[str], types: list[int], scores: list[float], merges: list[str]) -> None:
        self.tokens = tokens
        self.types = types
        self.scores = scores
        self.merges = [split_merge(merge) for merge in merges]

    def added(self) -> Iterable[tuple[int, str, bool]]:
        """The tokens beside the model's own vocabulary: id, text, whether it is special."""
        for at, kind in enumerate(self.types):
            if kind in _ADDED:
                yield at, self.tokens[at], kind == TokenType.CONTROL

    def used(self) -> Iterable[tuple[int, str]]:
        """Every token but those that only fill a byte-level vocabulary up; sentencepiece keeps them as pieces."""
        for at, (text, kind) in enumerate(zip(self.tokens, self.types, strict=True)):
            if self.scores or kind != TokenType.UNUSED or text != f"[PAD{at}]":
                yield at, text


def read_words(fields: Mapping[str, Field]) -> Words | None:
    """The vocabulary of a header; None where it has none. Raises ConvertError where its parts disagree."""
    if TOKENIZER + "tokens" not in fields:
        return None
    tokens = _texts(fields, "tokens")
    types = _numbers(fields, "token_type") or [int(TokenType.NORMAL)] * len(tokens)
    scores = _numbers(fields, "scores")
    if len(types) != len(tokens) or len(scores) not in (0, len(tokens)):
        raise ConvertError("the GGUF file's tokens, token types and scores differ in number")
    words = Words(tokens, types, scores, _texts(fields, "merges"))
    seen: dict[str, int] = {}
    for at, text in words.used():
        if text in seen:
            raise ConvertError(f"the GGUF file has the token {text!r:.80} twice, as {seen[text]} and {at}")
        seen[text] = at
    return words


def _texts(fields: Mapping[str, Field], name: str) -> list[str]:
    field = fields.get(TOKENIZER + name)
    if field is None:
        return []
    if field.element is not ValueType.STRING:
        raise ConvertError(f"the GGUF file's {TOKENIZER}{name} is not an array of texts")
    found: list[str] = value(field)
    try:
        "".join(found).encode()
    except UnicodeEncodeError:
        raise ConvertError(f"the GGUF file's {TOKENIZER}{name} are not all UTF-8") from None
    return found


def _numbers(fields: Mapping[str, Field], name: str) -> list[Any]:
    field = fields.get(TOKENIZER + name)
    if field is None:
        return []
    if field.kind is not ValueType.ARRAY or field.element is ValueType.STRING:
        raise ConvertError(f"the GGUF file's {TOKENIZER}{name} is not an array of numbers")
    found: list[Any] = value(field)
    return found


def split_merge(merge: str) -> tuple[str, str]:
    """A merge is two tokens with a space between them; the first may begin with one (llama.cpp, llama-vocab.cpp)."""
    at = merge.find(" ", 1)
    if at < 0 or at + 1 == len(merge):
        raise ConvertError(f"the GGUF file's merge {merge!r:.80} is not two tokens")
    return merge[:at], merge[at + 1 :]


def figures(words: Words, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The vocabulary in figures: what the sizes of a rebuilt tokenizer's files follow from.

    `normal` are the tokens that are not added: their number, their bytes, and the bytes of their JSON with
    their ids. `merges` likewise, of pairs. `special` are the tokens that a role such as `bos` has.
    """
    is_pieces = bool(words.scores) and metadata.get(TOKENIZER + "model") == "llama"
    added = list(words.added())
    taken = {at for at, _, _ in added}
    used = list(words.used())
    normal = [text for at, text in used if at not in taken]
    merges = merges_of(words.tokens, words.types, words.scores) if is_pieces else words.merges
    return {
        "size": max((at for at, _ in used), default=-1) + 1,
        "gaps": _gaps([at for at, _ in used]),
        "normal": {"count": len(normal), "bytes": sum(len(text.encode()) for text in normal)},
        "pieces": _pieces(words, taken, metadata) if is_pieces else None,
        "json_bytes": sum(len(quoted(text)) + 1 + len(str(at)) for at, text in used) + max(len(used) - 1, 0),
        "merges": {
            "count": len(merges),
            "bytes": sum(len(left.encode()) + 1 + len(right.encode()) for left, right in merges),
            "json_bytes": sum(len(quoted(left)) + len(quoted(right)) + 3 for left, right in merges)
            + max(len(merges) - 1, 0),
        },
        "added": [[at, text, special] for at, text, special in added],
        "special": dict(_special(words, metadata)),
    }


def _pieces(words: Words, taken: set[int], metadata: Mapping[str, Any]) -> dict[str, Any]:
    texts = [text for at, text in enumerate(words.tokens) if at not in taken]
    file = sentencepiece_file(words, metadata)
    return {
        "count": len(texts),
        "bytes": sum(len(text.encode()) for text in texts),
        "file": len(file),
        "settings": asdict(parse_settings(file, "tokenizer.model")),
    }


def sentencepiece_file(words: Words, metadata: Mapping[str, Any]) -> bytes:
    """The content of `tokenizer.model`."""
    special = dict(_special(words, metadata))
    roles = [special.get(role, [-1, ""]) for role in ("unknown", "bos", "eos", "padding")]
    return model_file(
        words.tokens,
        words.types,
        words.scores,
        roles=[(at, text) for at, text in roles],
        add_space_prefix=bool(metadata.get(TOKENIZER + "add_space_prefix", True)),
    )


def _special(words: Words, metadata: Mapping[str, Any]) -> Iterable[tuple[str, list[Any]]]:
    for role in ("bos", "eos", "unknown", "padding", "eot", "seperator", "mask"):
        at = metadata.get(f"{TOKENIZER}{role}_token_id")
        if isinstance(at, int) and 0 <= at < len(words.tokens):
            yield role, [at, words.tokens[at]]


def _gaps(ids: list[int]) -> list[list[int]]:
    edges = [-1, *ids]
    return [[before + 1, at] for before, at in zip(edges, ids, strict=False) if at > before + 1]


def quoted(text: str) -> bytes:
    """A text as JSON."""
    return encode_basestring(text).encode()
