"""Which tokens begin and end a text, and whether llama.cpp shall add them.

Source: what gguf-py's `SpecialVocab` makes of the same files, whose result llama.cpp's runtime expects.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill_gguf.fields import Field, boolean, uint32

_ROLES = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",
    "pad": "tokenizer.ggml.padding_token_id",
    "cls": "tokenizer.ggml.cls_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
}
# llama.cpp's runtime has no key for a classification token.
_WITHOUT_KEY = frozenset({"cls"})
_ADDABLE = ("bos", "eos", "sep")


@dataclass(slots=True, kw_only=True)
class _Template:
    """What a post-processor says, while its parts are read."""

    texts: dict[str, str | None]
    adds: dict[str, bool]


def special_fields(summary: Mapping[str, Any], config: Mapping[str, Any], rows: int) -> list[Field]:
    """The fields for special tokens: ids below `rows`, and what is added around a text.

    `summary` is a checkpoint's tokenizer summary, `config` its config.json.
    """
    template = _template(summary)
    ids: dict[str, int] = {}
    by_text = {token["content"]: token["id"] for token in reversed(summary["added_tokens"])}
    for role in _ROLES:
        text = template.texts.get(role)
        found = by_text.get(text) if text is not None else None
        if found is None:
            stated = config.get(f"{role}_token_id")
            found = stated if type(stated) is int else None
        if found is not None and 0 <= found < rows:
            ids[role] = found
    fields = [uint32(_ROLES[role], at) for role, at in ids.items() if role not in _WITHOUT_KEY]
    return fields + [
        boolean(f"tokenizer.ggml.add_{role}_token", value=template.adds[role])
        for role in _ADDABLE
        if role in template.adds
    ]


def _template(summary: Mapping[str, Any]) -> _Template:
    config: Mapping[str, Any] = summary["config"]
    template = _Template(texts={role: _text(config.get(f"{role}_token")) for role in _ROLES}, adds={})
    template.texts["bos"] = template.texts["bos"] or template.texts["cls"]
    template.texts["eos"] = template.texts["eos"] or template.texts["sep"]
    processor = summary["definition"].get("post_processor")
    if isinstance(processor, Mapping):
        parts = processor.get("processors", [processor])
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, Mapping):
                _read(part, template)
    for role in _ADDABLE:
        stated = config.get(f"add_{role}_token")
        if isinstance(stated, bool):
            template.adds.setdefault(role, stated)
    return template


def _text(entry: Any) -> str | None:
    """A token in tokenizer_config.json is a text, or an object that holds one."""
    text = entry.get("content") if isinstance(entry, Mapping) else entry
    return text if isinstance(text, str) else None


def _read(part: Mapping[str, Any], template: _Template) -> None:
    if part.get("type") == "ByteLevel":
        template.adds.setdefault("bos", False)
        template.adds.setdefault("eos", False)
    elif part.get("type") == "TemplateProcessing":
        single = _special_ids(part.get("single"))
        first = single[0] if len(single) > 1 else None
        last = single[-1] if len(single) > 1 else None
        if first:
            template.texts["bos"] = template.texts["bos"] or first
            template.adds["bos"] = first in (template.texts["bos"], template.texts["cls"])
        if last:
            if last != template.texts["eos"]:
                template.texts["eot"], template.texts["eos"] = template.texts["eos"], last
            template.adds["eos"] = True
        _read_pair(_special_ids(part.get("pair")), first, last, template)


def _special_ids(parts: Any) -> list[str | None]:
    """The special token at each place of a template; None where a sequence stands."""
    found: list[str | None] = []
    for part in parts if isinstance(parts, list) else []:
        special = part.get("SpecialToken") if isinstance(part, Mapping) else None
        found.append(_text(special.get("id")) if isinstance(special, Mapping) else None)
    return found


def _read_pair(pair: list[str | None], first: str | None, last: str | None, template: _Template) -> None:
    """Whether a separator goes between two texts."""
    if first and pair and pair[0] == first:
        pair = pair[1:]
    if last and pair and pair[-1] == last:
        pair = pair[:-1]
    between = pair[1:-1]
    if len(pair) > 1 and pair[0] is None and pair[-1] is None and between:
        enders = (template.texts["sep"], template.texts["eos"])
        adds = between[0] is not None and between[0] in enders and not last
        if len(between) == 2:  # noqa: PLR2004  # "A </s> <s> B"
            adds = adds or (between[1] is not None and between[1] in enders)
        template.adds["sep"] = adds
