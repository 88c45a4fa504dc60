"""White space beside added tokens, which some tokenizers strip, and llama.cpp behind those of Phi-3 alone.

GGUF has no key for it: llama.cpp goes by the word Phi-3 in `general.name`. Source: the attributes that
`llama_vocab::impl::load` in llama-vocab.cpp gives to tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelmill import ConvertError
from modelmill_gguf.fields import Field, string, value

_KEY = "general.name"
_NEVER = ("<unk>", "<s>", "<|endoftext|>")
_NEEDED = (*_NEVER, "</s>")
"""llama.cpp loads no model of that name whose vocabulary lacks one of these."""
_SHOWN = 3


def named(
    fields: Sequence[Field], summary: Mapping[str, Any], rows: int, *, architecture: str
) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """A model's fields under the name by which llama.cpp strips as the tokenizer does, and what is to be told."""
    given = _name(fields)
    name = proper_name(given, summary, rows, architecture=architecture)
    told = notes(name, summary, rows)
    if name is None or name == given:
        return tuple(fields), tuple(told)
    told.insert(0, f"{_KEY} is {name!r}: by that word llama.cpp strips behind special tokens as the tokenizer does.")
    others = [field for field in fields if field.key != _KEY]
    return (*others[:2], string(_KEY, name), *others[2:]), tuple(told)


def _name(fields: Iterable[Field]) -> str | None:
    return next((value(field) for field in fields if field.key == _KEY), None)


def is_phi3(name: str) -> bool:
    """Whether llama.cpp strips behind the special tokens of a model with this name."""
    return any(word in name.lower() for word in ("phi-3", "phi3"))


def proper_name(name: str | None, summary: Mapping[str, Any], rows: int, *, architecture: str) -> str | None:
    """The model's name, with the word Phi-3 where a Phi-3 tokenizer takes it for llama.cpp to strip as it does."""
    wanted, texts = _stripping(summary, rows, "rstrip"), _texts(summary, rows)
    could = architecture == "phi3" and wanted and not is_phi3(name or "") and texts.issuperset(_NEEDED)
    if not could or len(wanted ^ _stripped(texts)) >= len(wanted):
        return name
    return f"{name} (Phi-3)" if name else "Phi-3"


def notes(name: str | None, summary: Mapping[str, Any], rows: int) -> list[str]:
    """In what llama.cpp, for a model of this name, strips otherwise than the tokenizer."""
    wanted = _stripping(summary, rows, "rstrip")
    done = _stripped(_texts(summary, rows)) if is_phi3(name or "") else set()
    found = (
        (_stripping(summary, rows, "lstrip"), "The tokenizer strips white space before {}, and llama.cpp does not."),
        (wanted - done, "The tokenizer strips white space behind {}, and llama.cpp does not."),
        (done - wanted, "llama.cpp strips white space behind {}, as the name says Phi-3, and the tokenizer does not."),
    )
    return [sentence.format(_listed(texts)) for texts, sentence in found if texts]


def check(fields: Sequence[Field]) -> None:
    """ConvertError for a model whose name would make llama.cpp look for tokens that there are not."""
    name = _name(fields) or ""
    if not is_phi3(name):
        return
    tokens = next(set(value(field)) for field in fields if field.key == "tokenizer.ggml.tokens")
    if missing := [text for text in _NEEDED if text not in tokens]:
        raise ConvertError(
            f"The model's name {name!r} says Phi-3, and llama.cpp loads no model of such a name without the tokens "
            f"{_listed(missing)}; give it another one with the option `name`."
        )


def _texts(summary: Mapping[str, Any], rows: int) -> set[str]:
    return {token["content"] for token in summary["added_tokens"] if token["id"] < rows}


def _stripping(summary: Mapping[str, Any], rows: int, flag: str) -> set[str]:
    return {token["content"] for token in summary["added_tokens"] if token[flag] and token["id"] < rows}


def _stripped(texts: set[str]) -> set[str]:
    return texts.difference(_NEVER)


def _listed(texts: Iterable[str]) -> str:
    names = sorted(texts)
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
