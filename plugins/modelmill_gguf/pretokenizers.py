"""Recognising llama.cpp's pre-tokenizers by what a tokenizer.json says that it does.

llama.cpp's own script hashes the ids that a tokenizer gives for a test text, so that a vocabulary with one token
more is unknown to it. The splitting of text is defined by the normalizer and the pre-tokenizer alone, and these
are compared here. Source of the expressions: `llm_tokenizer_bpe` in llama.cpp's llama-vocab.cpp, which cites the
tokenizer.json of the models.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST_WITH_SLASH = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

LLAMA3 = _CONTRACTIONS + _WORDS + r"|\p{N}{1,3}" + _REST
QWEN2 = _CONTRACTIONS + _WORDS + r"|\p{N}" + _REST
QWEN35 = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?|\p{{N}}{{1,3}}{_REST_WITH_SLASH}"
)
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    rf"|\p{{N}}{_REST_WITH_SLASH}"
)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_BYTES = ("bytes",)
_GPT2 = ("gpt2",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreTokenizer:
    """One of llama.cpp's names, and the steps that a tokenizer.json takes where it means the same.

    `ignore_merges` is whether llama.cpp looks a whole word up before it merges. None is for the tokenizers that were
    made of tiktoken files, some of which look words up and some not (Llama 4 has the former under this name): their
    merges are all pairs that make a token, so that they build the same word, if every token has one. `adds_bos` is
    what llama.cpp assumes if the file does not say.
    """

    name: str
    steps: tuple[tuple[str, ...], ...]
    ignore_merges: bool | None = False
    adds_bos: bool = False


PRE_TOKENIZERS = (
    PreTokenizer(name="llama-bpe", steps=(("split", LLAMA3), _BYTES), ignore_merges=True, adds_bos=True),
    PreTokenizer(name="dbrx", steps=(("split", LLAMA3), _BYTES)),
    PreTokenizer(name="qwen2", steps=(("split", QWEN2), _BYTES)),
    PreTokenizer(name="qwen35", steps=(("split", QWEN35), _BYTES)),
    PreTokenizer(name="gpt-4o", steps=(("split", GPT4O), _BYTES), ignore_merges=None),
    PreTokenizer(name="tekken", steps=(("split", TEKKEN), _BYTES), ignore_merges=True, adds_bos=True),
    PreTokenizer(
        name="deepseek-v3",
        steps=(("split", r"\p{N}{1,3}"), ("split", "[一-龥\u3040-ゟ\u30a0-ヿ]+"), ("split", DEEPSEEK3), _BYTES),
    ),
    PreTokenizer(name="smollm", steps=(("digits",), _GPT2)),
    PreTokenizer(name="gpt-2", steps=(_GPT2,)),
)


def recognise(definition: Mapping[str, Any]) -> PreTokenizer:
    """The pre-tokenizer of llama.cpp that splits text as this tokenizer.json does.

    Raises ConvertError, which shows the definition, where there is none.
    """
    normalizer = definition.get("normalizer")
    model = definition.get("model")
    ignore_merges = bool(isinstance(model, Mapping) and model.get("ignore_merges"))
    steps = _steps(definition.get("pre_tokenizer"))
    # llama.cpp takes text as it comes; text in NFC, which nearly all text is, is the same for both.
    if _is_plain(normalizer) and steps is not None:
        for known in PRE_TOKENIZERS:
            if known.steps == steps and known.ignore_merges in (None, ignore_merges):
                return known
    shown = json.dumps(
        {key: definition.get(key) for key in ("normalizer", "pre_tokenizer")}
        | {"model": {"ignore_merges": ignore_merges}},
        ensure_ascii=False,
    )
    names = ", ".join(known.name for known in PRE_TOKENIZERS)
    raise ConvertError(
        f"tokenizer.json splits text as none of llama.cpp's pre-tokenizers known here ({names}) does: {shown}"
    )


def _is_plain(normalizer: Any) -> bool:
    if normalizer is None:
        return True
    if not isinstance(normalizer, Mapping):
        return False
    if normalizer.get("type") == "Sequence":
        parts = normalizer.get("normalizers")
        return isinstance(parts, list) and all(_is_plain(part) for part in parts)
    return normalizer.get("type") == "NFC"


def _steps(part: Any) -> tuple[tuple[str, ...], ...] | None:
    """The steps in the table's words; None where one is not in it."""
    if not isinstance(part, Mapping):
        return None
    kind = part.get("type")
    if kind == "Sequence":
        parts = part.get("pretokenizers")
        return _joined([_steps(each) for each in parts]) if isinstance(parts, list) else None
    if kind == "ByteLevel" and not part.get("add_prefix_space", True):
        return (_GPT2,) if part.get("use_regex", True) else (_BYTES,)
    if kind == "Digits" and part.get("individual_digits"):
        return (("digits",),)
    if kind == "Split" and _keeps_matches(part):
        pattern = part.get("pattern")
        expression = pattern.get("Regex") if isinstance(pattern, Mapping) else None
        return (("split", expression),) if isinstance(expression, str) else None
    return None


def _joined(
    nested: list[tuple[tuple[str, ...], ...] | None],
) -> tuple[tuple[str, ...], ...] | None:
    found: list[tuple[str, ...]] = []
    for steps in nested:
        if steps is None:
            return None
        found.extend(steps)
    return tuple(found)


def _keeps_matches(part: Mapping[str, Any]) -> bool:
    """Matches become words of their own; these expressions match everything, so removing the rest is the same."""
    behaviour, invert = part.get("behavior"), bool(part.get("invert"))
    return (behaviour == "Isolated" and not invert) or (behaviour == "Removed" and invert)
