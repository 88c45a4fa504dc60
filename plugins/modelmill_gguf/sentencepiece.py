"""Recognising the tokenizers that llama.cpp's sentencepiece tokenizer is the same as, by what their files say.

llama.cpp writes each space as a word start (▁) and puts one more before a text and behind each special token, unless
the file says otherwise; then it joins the pair with the highest score until none is left, and spells the rest in
bytes. It rewrites no characters, drops no spaces and cuts a text into no words. Source: `llm_tokenizer_spm_session`
and `llama_vocab::impl::tokenize` in llama.cpp's llama-vocab.cpp.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from modelmill import ConvertError

_START = "\u2581"
_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": _START}
_PREPEND = {"type": "Prepend", "prepend": _START}
# It finds nothing to split where every space has become a word start; Gemma's has it.
_IDLE_SPLIT = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
_MODEL = ("type", "byte_fallback", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")


def prepends(summary: Mapping[str, Any]) -> bool:
    """Whether this tokenizer, by its summary, puts a word start before a text.

    tokenizer.json decides, which is what transformers runs; without one, `tokenizer.model` does. Raises ConvertError,
    which shows what they say, for a tokenizer that does something else than llama.cpp.
    """
    settings = summary["settings"]
    if settings is not None:
        _check_settings(settings)
    if summary["model"] is None:
        return settings is None or bool(settings["dummy_prefix"])
    definition = summary["definition"]
    model = definition.get("model")
    if not isinstance(model, Mapping) or not _is_known(model):
        _refuse(definition)
    normalizer, splitter = _flat(definition.get("normalizer")), definition.get("pre_tokenizer")
    if normalizer == [] and isinstance(splitter, Mapping) and splitter.get("type") == "Metaspace":
        # One that splits joins no pair across a word start, and that is what it does if it does not say.
        if splitter.get("replacement") != _START or splitter.get("split", True):
            _refuse(definition)
        return _scheme(splitter) != "never"
    if splitter not in (None, _IDLE_SPLIT) or normalizer not in ([_SPACES], [_PREPEND, _SPACES]):
        _refuse(definition)
    return _PREPEND in normalizer


def prepends_once(summary: Mapping[str, Any]) -> bool:
    """Whether the word start goes before the text alone: llama.cpp puts it behind each special token too."""
    splitter = summary["definition"].get("pre_tokenizer")
    return isinstance(splitter, Mapping) and splitter.get("type") == "Metaspace" and _scheme(splitter) == "first"


def _check_settings(settings: Mapping[str, Any]) -> None:
    wanted = {
        "model": "bpe",
        "byte_fallback": True,
        "whitespace_as_suffix": False,
        "charsmap": 0,
        "remove_extra_whitespaces": False,
        "escape_whitespaces": True,
    }
    other = {key: settings[key] for key, value in wanted.items() if settings[key] != value}
    if other:
        raise ConvertError(
            "tokenizer.model does what llama.cpp's sentencepiece tokenizer (BPE with byte fallback that takes a text "
            f"as it is) does not: {json.dumps(other | {'normalizer': settings['normalizer']}, ensure_ascii=False)}"
        )


def _is_known(model: Mapping[str, Any]) -> bool:
    return (
        model.get("type") == "BPE"
        and bool(model.get("byte_fallback"))
        and not any(model.get(key) for key in _MODEL[2:])
    )


def _flat(normalizer: Any) -> list[Any]:
    if normalizer is None:
        return []
    if isinstance(normalizer, Mapping) and normalizer.get("type") == "Sequence":
        parts = normalizer.get("normalizers")
        return list(parts) if isinstance(parts, list) else [normalizer]
    return [normalizer]


def _scheme(metaspace: Mapping[str, Any]) -> str:
    """When a Metaspace prepends; before tokenizers 0.15 it said so with `add_prefix_space`."""
    default = "always" if metaspace.get("add_prefix_space", True) else "never"
    return str(metaspace.get("prepend_scheme", default))


def _refuse(definition: Mapping[str, Any]) -> NoReturn:
    model = definition.get("model")
    parts = {key: model[key] for key in _MODEL if model.get(key) is not None} if isinstance(model, Mapping) else model
    shown = {key: definition.get(key) for key in ("normalizer", "pre_tokenizer")} | {"model": parts}
    raise ConvertError(
        "tokenizer.json prepares text as llama.cpp's sentencepiece tokenizer, which takes it as it is with a word "
        f"start for each space, does not: {json.dumps(shown, ensure_ascii=False)}"
    )
