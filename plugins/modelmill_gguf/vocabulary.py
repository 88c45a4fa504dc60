"""The vocabulary in GGUF: predicted to the byte from a tokenizer's summary, and built from the tokenizer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError
from modelmill.checkpoint import Tokenizer
from modelmill_gguf.fields import Field, ValueType, boolean, frame_size, numbers, packed_size, string, strings
from modelmill_gguf.pretokenizers import recognise
from modelmill_gguf.sentencepiece import prepends, prepends_once
from modelmill_gguf.special_tokens import special_fields
from modelmill_gguf.token_texts import Special, TokenType, padding, specials

TOKENS = "tokenizer.ggml.tokens"
SCORES = "tokenizer.ggml.scores"
TYPES = "tokenizer.ggml.token_type"
MERGES = "tokenizer.ggml.merges"
CHAT_TEMPLATE = "tokenizer.chat_template"
_LENGTH = 8
_SCORE_OF_ADDED = -1000.0
_SCORE_OF_PADDING = -10_000.0
_ONLY_BEFORE_A_TEXT = (
    "tokenizer.json puts a word start before a text alone, and llama.cpp behind each special token too: what follows "
    "one without a space is tokenized as if there were a space."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What is known of the tokenizer's fields without the tokens: the small ones, and the size of the arrays.

    `model` is llama.cpp's word: `gpt2` for byte-level BPE, `llama` for sentencepiece. `notes` say in what llama.cpp
    will differ from the tokenizer.
    """

    model: str
    rows: int
    specials: tuple[Special, ...]
    fields: tuple[Field, ...]
    array_sizes: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all fields together."""
        small = sum(map(packed_size, self.fields))
        return small + sum(frame_size(key, is_array=True) + size for key, size in self.array_sizes.items())

    @property
    def count(self) -> int:
        """The number of fields."""
        return len(self.fields) + len(self.array_sizes)


def predict(
    summary: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    rows: int,
    *,
    drops: tuple[str, ...] = (),
    says_space_prefix: bool = False,
    stated_tokens: bool = False,
) -> Vocabulary:
    """The vocabulary of a model with `rows` embeddings, from its tokenizer's summary and its config.json.

    Raises ConvertError where llama.cpp has no counterpart for the tokenizer.
    """
    if summary is None:
        raise ConvertError("The checkpoint has no tokenizer: there is no tokenizer.json and no tokenizer.model.")
    model = _model(summary)
    added = specials(summary, rows, drops, as_stated=stated_tokens)
    pre = recognise(summary["definition"]).name if model == "gpt2" else "default"
    prefix = _space_prefix(summary, model, says=says_space_prefix)
    fields = [
        string("tokenizer.ggml.model", model),
        string("tokenizer.ggml.pre", pre),
        *special_fields(summary, config, rows),
    ]
    if prefix is not None:
        fields.append(boolean("tokenizer.ggml.add_space_prefix", value=prefix))
    fields += _templates(summary)
    return Vocabulary(
        model=model,
        rows=rows,
        specials=tuple(added),
        fields=tuple(fields),
        array_sizes=_array_sizes(summary, model, added, rows),
        notes=_notes(summary, model, prefix=prefix),
    )


def _model(summary: Mapping[str, Any]) -> str:
    if summary["pieces"] is not None:
        return "llama"
    if summary["model"] != "BPE":
        raise ConvertError(
            f"tokenizer.json holds a {summary['model']} model and there is no tokenizer.model; "
            "BPE, and sentencepiece with its tokenizer.model, can become GGUF."
        )
    definition = summary["definition"].get("model")
    return "llama" if isinstance(definition, Mapping) and definition.get("byte_fallback") else "gpt2"


def _space_prefix(summary: Mapping[str, Any], model: str, *, says: bool) -> bool | None:
    """Whether llama.cpp puts a space before a text; for sentencepiece it does unless told otherwise."""
    does = model == "llama" and prepends(summary)
    stated = summary["config"].get("add_prefix_space")
    if says and isinstance(stated, bool):
        return stated
    return False if model == "llama" and not does else None


def _notes(summary: Mapping[str, Any], model: str, *, prefix: bool | None) -> tuple[str, ...]:
    if model == "llama" and prefix is not False and prepends_once(summary):
        return (_ONLY_BEFORE_A_TEXT,)
    return ()


def _templates(summary: Mapping[str, Any]) -> list[Field]:
    """The chat template, and behind it those with names, as far as llama.cpp's script lets a name be in a key."""
    fields = [] if summary["chat_template"] is None else [string(CHAT_TEMPLATE, summary["chat_template"])]
    names: dict[str, str] = {}
    for given, template in sorted(summary["named_templates"].items()):
        name = re.sub(r"[^A-Za-z0-9]", "_", given)
        if not name:
            continue
        if name in names:
            raise ConvertError(
                f"Two chat templates, {names[name]!r} and {given!r}, are {CHAT_TEMPLATE}.{name} in GGUF; rename one."
            )
        names[name] = given
        fields.append(string(f"{CHAT_TEMPLATE}.{name}", template))
    return [*fields, strings("tokenizer.chat_templates", list(names))] if names else fields


def _array_sizes(summary: Mapping[str, Any], model: str, added: Sequence[Special], rows: int) -> dict[str, int]:
    normal = summary["pieces"] or summary["normal"]
    gaps = [*summary["gaps"], [summary["size"], rows]]
    pads = sum(len(padding(at)) for first, end in gaps for at in range(first, min(end, rows)))
    texts = normal["bytes"] + sum(len(special.text.encode()) for special in added) + pads
    sizes = {TOKENS: _LENGTH * rows + texts, TYPES: 4 * rows}
    if model == "llama":
        return sizes | {SCORES: 4 * rows}
    merges = summary["merges"]
    if not merges["count"]:
        raise ConvertError("tokenizer.json has no merges, which llama.cpp needs for byte-level BPE.")
    return sizes | {MERGES: _LENGTH * merges["count"] + merges["bytes"]}


def build(tokenizer: Tokenizer, vocabulary: Vocabulary) -> list[Field]:
    """All fields of the tokenizer, arrays included."""
    rows = vocabulary.rows
    texts: list[str | None] = [None] * rows
    kinds = [int(TokenType.UNUSED)] * rows
    scores = [_SCORE_OF_PADDING] * rows
    if tokenizer.pieces:
        for at, piece in enumerate(tokenizer.pieces[:rows]):
            # llama.cpp's script makes a piece of the user's ordinary, if it is no added token too.
            ordinary = piece.type == TokenType.USER_DEFINED
            kinds[at] = int(TokenType.NORMAL) if ordinary else piece.type
            texts[at], scores[at] = piece.text, piece.score
    else:
        ranks = _ranks(tokenizer) if vocabulary.model == "llama" else {}
        for at, text in tokenizer.tokens.items():
            texts[at], kinds[at] = text, int(TokenType.NORMAL)
            if vocabulary.model == "llama":
                kinds[at] = int(TokenType.BYTE if _spells_byte(text) else TokenType.NORMAL)
                scores[at] = ranks.get(text, 0.0)
    for special in vocabulary.specials:
        texts[special.id], kinds[special.id] = special.text, int(special.kind)
        scores[special.id] = _SCORE_OF_ADDED
    fields = [
        *vocabulary.fields,
        strings(TOKENS, [padding(at) if text is None else text for at, text in enumerate(texts)]),
    ]
    if vocabulary.model == "llama":
        fields.append(numbers(SCORES, ValueType.FLOAT32, scores))
    fields.append(numbers(TYPES, ValueType.INT32, kinds))
    if vocabulary.model == "gpt2":
        _check_words(tokenizer)
        fields.append(strings(MERGES, list(map(" ".join, tokenizer.merges))))
    return fields


def _check_words(tokenizer: Tokenizer) -> None:
    """Words that a tokenizer finds by looking them up are tokens that llama.cpp finds too, or ConvertError."""
    model = tokenizer.definition["model"]
    if not model.get("ignore_merges") or recognise(tokenizer.definition).ignore_merges:
        return
    reached = {left + right for left, right in tokenizer.merges}
    for text in tokenizer.tokens.values():
        if len(text) > 1 and text not in reached:
            raise ConvertError(
                f"tokenizer.json looks whole words up (ignore_merges), which llama.cpp's pre-tokenizer for it does "
                f"not, and no merge makes the token {text!r}: llama.cpp would never find it."
            )


def _spells_byte(text: str) -> bool:
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")  # noqa: PLR2004


def _ranks(tokenizer: Tokenizer) -> dict[str, float]:
    """Scores that give the order of the merges back: sentencepiece joins the pair with the highest score first.

    It joins whatever makes a token, so that merges that leave a pair out cannot be said in scores: ConvertError.
    """
    found: dict[str, float] = {}
    for rank, (left, right) in enumerate(tokenizer.merges):
        found.setdefault(left + right, -float(rank))
    pairs = set(tokenizer.merges)
    known = set(tokenizer.tokens.values())
    for text in tokenizer.tokens.values():
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in known and right in known and (left, right) not in pairs:
                raise ConvertError(
                    f"tokenizer.json: its merges do not join {left!r} and {right!r}, and llama.cpp's sentencepiece "
                    f"tokenizer, which knows no merges, would, as {text!r} is a token; put the tokenizer.model that "
                    "it was made of beside it."
                )
    return found
