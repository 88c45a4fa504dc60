"""The tokenizer files of a checkpoint, rebuilt from a GGUF header, and their sizes, foretold.

All but vocabulary and merges follow from the small data that plans have; the same functions serve both.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelmill import ConvertError
from modelmill.checkpoint import parse_tokenizer, summarize
from modelmill_gguf.pretokenizers import PRE_TOKENIZERS
from modelmill_gguf.to_huggingface_details import TOKENIZER, quoted

_MODELS = {"gpt2": "byte-level BPE", "llama": "sentencepiece"}
_NFC = ("qwen2", "qwen35")
"""The pre-tokenizers whose models normalize text, which llama.cpp leaves out."""
_TEMPLATE, _DEFAULT = "tokenizer.chat_template", "default"
_VOCABULARY, _MERGES = b'"vocab":{', b'"merges":['


def rebuild_definition(metadata: Mapping[str, Any], vocabulary: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer.json with an empty vocabulary and no merges. Raises ConvertError where it cannot be the same."""
    kind = metadata.get(TOKENIZER + "model")
    if kind not in _MODELS:
        raise ConvertError(
            f"a tokenizer of the kind {kind!r} is not turned back; {' and '.join(_MODELS)} "
            f"({', '.join(_MODELS.values())}) are: use the original checkpoint"
        )
    parts = _sentencepiece(vocabulary) if vocabulary["pieces"] else _byte_level(metadata)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": at,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": special,
            }
            for at, text, special in vocabulary["added"]
        ],
        "normalizer": parts["normalizer"],
        "pre_tokenizer": parts["pre_tokenizer"],
        "post_processor": _post_processor(metadata, vocabulary["special"]),
        "decoder": parts["decoder"],
        "model": {"type": "BPE", "dropout": None, **parts["model"], "vocab": {}, "merges": []},
    }


def _byte_level(metadata: Mapping[str, Any]) -> dict[str, Any]:
    name = metadata.get(TOKENIZER + "pre")
    known = next((each for each in PRE_TOKENIZERS if each.name == name), None)
    if known is None:
        raise ConvertError(
            f"the pre-tokenizer {name!r} of the GGUF file is not known "
            f"({', '.join(each.name for each in PRE_TOKENIZERS)} are): use the original checkpoint"
        )
    steps = [_step(step) for step in known.steps]
    return {
        "normalizer": {"type": "NFC"} if name in _NFC else None,
        "pre_tokenizer": steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": bool(known.ignore_merges),
        },
    }


def _step(step: tuple[str, ...]) -> dict[str, Any]:
    if step[0] == "split":
        return {"type": "Split", "pattern": {"Regex": step[1]}, "behavior": "Isolated", "invert": False}
    if step[0] == "digits":
        return {"type": "Digits", "individual_digits": True}
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": step[0] == "gpt2"}


def _sentencepiece(vocabulary: Mapping[str, Any]) -> dict[str, Any]:
    unknown = vocabulary["special"].get("unknown")
    return {
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "unk_token": unknown[1] if unknown else None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
        },
    }


def _adds(metadata: Mapping[str, Any], role: str) -> bool:
    """Whether llama.cpp adds a token; where the file is silent, its own assumption holds (llama-vocab.cpp)."""
    stated = metadata.get(f"{TOKENIZER}add_{role}_token")
    if isinstance(stated, bool):
        return stated
    name = metadata.get(TOKENIZER + "pre")
    assumed = metadata.get(TOKENIZER + "model") == "llama" or any(
        each.adds_bos for each in PRE_TOKENIZERS if each.name == name
    )
    return role == "bos" and assumed


def _post_processor(metadata: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any] | None:
    first = special.get("bos") if _adds(metadata, "bos") else None
    last = special.get("eos") if _adds(metadata, "eos") else None
    added = [each for each in (first, last) if each]
    if not added:
        return None

    def wrapped(name: str, type_id: int) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"Sequence": {"id": name, "type_id": type_id}}]
        if first:
            parts.insert(0, {"SpecialToken": {"id": first[1], "type_id": type_id}})
        if last:
            parts.append({"SpecialToken": {"id": last[1], "type_id": type_id}})
        return parts

    return {
        "type": "TemplateProcessing",
        "single": wrapped("A", 0),
        "pair": [*wrapped("A", 0), *wrapped("B", 1)],
        "special_tokens": {text: {"id": text, "ids": [at], "tokens": [text]} for at, text in added},
    }


def rebuild_config(metadata: Mapping[str, Any], vocabulary: Mapping[str, Any], context: int) -> dict[str, Any]:
    """tokenizer_config.json."""
    special = vocabulary["special"]
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": _adds(metadata, "bos"),
        "add_eos_token": _adds(metadata, "eos"),
        "add_prefix_space": bool(metadata.get(TOKENIZER + "add_space_prefix", False)),
        "added_tokens_decoder": {
            str(at): {
                "content": text,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": is_special,
            }
            for at, text, is_special in vocabulary["added"]
        },
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        **{f"{role}_token": special[key][1] for role, key in roles.items() if key in special},
    }
    templates = {key: text for key, text in metadata.items() if key.startswith(_TEMPLATE) and isinstance(text, str)}
    if not templates:
        return config
    if set(templates) == {_TEMPLATE}:
        return {**config, "chat_template": templates[_TEMPLATE]}
    # Among several, the one without a name is what transformers calls `default`.
    names = {key: key.removeprefix(_TEMPLATE).removeprefix(".") or _DEFAULT for key in sorted(templates)}
    return {**config, "chat_template": [{"name": names[key], "template": templates[key]} for key in names]}


def special_tokens_map(config: Mapping[str, Any]) -> dict[str, str]:
    """special_tokens_map.json."""
    return {name: config[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token") if name in config}


def predict_summary(
    definition: Mapping[str, Any], config: Mapping[str, Any], vocabulary: Mapping[str, Any]
) -> dict[str, Any]:
    """The summary that the rebuilt files will have, without the vocabulary."""
    entry = config.get("chat_template")
    named = {each["name"]: each["template"] for each in entry} if isinstance(entry, list) else {_DEFAULT: entry}
    template = named.pop(_DEFAULT, None)
    summary = summarize(parse_tokenizer(definition, config, chat_template=template))
    return {
        **summary,
        "named_templates": named,
        "normal": dict(vocabulary["normal"]),
        "merges": {key: vocabulary["merges"][key] for key in ("count", "bytes")},
        "pieces": {key: vocabulary["pieces"][key] for key in ("count", "bytes")} if vocabulary["pieces"] else None,
        "settings": dict(vocabulary["pieces"]["settings"]) if vocabulary["pieces"] else None,
        "size": vocabulary["size"],
        "gaps": [list(gap) for gap in vocabulary["gaps"]],
    }


def definition_size(definition: Mapping[str, Any], vocabulary: Mapping[str, Any]) -> int:
    """The bytes of tokenizer.json once vocabulary and merges are in."""
    return len(compact(definition)) + int(vocabulary["json_bytes"] + vocabulary["merges"]["json_bytes"])


def full_definition(
    definition: Mapping[str, Any], tokens: Sequence[tuple[int, str]], merges: Sequence[tuple[str, str]]
) -> bytes:
    """tokenizer.json. The two long parts are spelled here, one token at a time, at a third of json's time."""
    head, vocabulary, rest = compact(definition).partition(_VOCABULARY + b"}")
    middle, merging, tail = rest.partition(_MERGES + b"]")
    if not (vocabulary and merging):
        raise AssertionError("the definition lost its empty vocabulary")
    words = b",".join(b"%b:%d" % (quoted(text), at) for at, text in tokens)
    pairs = b",".join(b"[%b,%b]" % (quoted(left), quoted(right)) for left, right in merges)
    return b"".join((head, _VOCABULARY, words, b"}", middle, _MERGES, pairs, b"]", tail))


def compact(content: Mapping[str, Any]) -> bytes:
    """JSON without spaces, as one line."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def pretty(content: Mapping[str, Any]) -> bytes:
    """JSON as Hugging Face's tools write it: sorted, indented by two."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
