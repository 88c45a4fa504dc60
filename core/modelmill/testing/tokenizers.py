"""The tokenizer files of the model families: real structure, tiny vocabulary."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill.testing import sentencepiece, vocabulary
from modelmill.testing.families import FAMILIES, Family
from modelmill.testing.sentencepiece import BYTE, CONTROL, UNKNOWN, USER_DEFINED, Piece

MERGES = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A tokenizer's files by name, the number of its tokens, and the ids that config.json names."""

    files: Mapping[str, bytes]
    size: int
    bos: int | None
    eos: int
    pad: int | None


def make_tokenizer(name: str) -> Tokenizer:
    """Make the tokenizer of a family: tokenizer.json, tokenizer_config.json and, where it has one, tokenizer.model."""
    family = FAMILIES[name]
    if family.tokenizer_class in {"LlamaTokenizer", "GemmaTokenizer"}:
        return _sentence_tokenizer(family)
    return _byte_level_tokenizer(family)


def _byte_level_tokenizer(family: Family) -> Tokenizer:
    merges = vocabulary.byte_level_merges(MERGES)
    ordinary = [*sorted(vocabulary.byte_alphabet().values()), *(left + right for left, right in merges), *family.words]
    model_tokens = [*family.first, *ordinary]
    ids = {token: index for index, token in enumerate([*model_tokens, *family.last])}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    document = {
        "normalizer": family.normalizer,
        "pre_tokenizer": family.pre_tokenizer,
        "post_processor": _template(family, ids) if family.adds_bos else byte_level,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            **_model({token: ids[token] for token in model_tokens}, merges, unk=None),
            "ignore_merges": bool(family.words),
        },
    }
    return _files(family, ids, document, {})


def _sentence_tokenizer(family: Family) -> Tokenizer:
    pieces = _pieces(family)
    ids = {piece.text: index for index, piece in enumerate(pieces)}
    ids |= {token: len(pieces) + index for index, token in enumerate(family.last)}
    scores = {piece.text: piece.score for piece in pieces if piece.kind == sentencepiece.NORMAL}
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if family.dummy_prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    document = {
        "normalizer": family.normalizer,
        "pre_tokenizer": family.pre_tokenizer,
        "post_processor": _template(family, ids),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _model({piece.text: ids[piece.text] for piece in pieces}, _splits(scores), unk=family.unk),
    }
    model = sentencepiece.serialise(pieces, dummy_prefix=family.dummy_prefix)
    return _files(family, ids, document, {"tokenizer.model": model})


def _pieces(family: Family) -> list[Piece]:
    merged = [left + right for left, right in vocabulary.sentence_merges(MERGES)]
    ordinary = [*merged, *vocabulary.sentence_characters()]
    kinds = {"<unk>": UNKNOWN, "<start_of_turn>": USER_DEFINED, "<end_of_turn>": USER_DEFINED}
    return [
        *(Piece(text=token, kind=kinds.get(token, CONTROL)) for token in family.first),
        *(Piece(text=f"<0x{byte:02X}>", kind=BYTE) for byte in range(256)),
        *(Piece(text=text, score=-float(index)) for index, text in enumerate(ordinary)),
    ]


def _splits(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """All merges that lead to a piece, best piece first, as transformers derives them from a SentencePiece model."""
    found = []
    for text in sorted(scores, key=lambda text: -scores[text]):
        pairs = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        found += sorted(
            (pair for pair in pairs if pair[0] in scores and pair[1] in scores),
            key=lambda pair: (-scores[pair[0]], -scores[pair[1]]),
        )
    return found


def _model(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], *, unk: str | None) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": unk is not None,
        "byte_fallback": unk is not None,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": [list(pair) for pair in merges],
    }


def _template(family: Family, ids: Mapping[str, int]) -> dict[str, Any]:
    """A post-processor that puts the token of the beginning before each text, where the family does."""
    bos = [{"SpecialToken": {"id": family.bos, "type_id": 0}}] if family.adds_bos else []
    special = {family.bos: {"id": family.bos, "ids": [ids[family.bos]], "tokens": [family.bos]}} if family.bos else {}
    return {
        "type": "TemplateProcessing",
        "single": [*bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [*bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": special if family.adds_bos else {},
    }


def _files(family: Family, ids: Mapping[str, int], document: Mapping[str, Any], more: Mapping[str, bytes]) -> Tokenizer:
    added = {
        str(ids[token]): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token in (*family.first, *family.last)
    }
    names = {"bos_token": family.bos, "eos_token": family.eos, "unk_token": family.unk, "pad_token": family.pad}
    config = {
        "add_bos_token": family.adds_bos,
        "add_eos_token": False,
        "added_tokens_decoder": added,
        **names,
        "chat_template": family.template,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 256,
        "tokenizer_class": family.tokenizer_class,
    }
    head = {"version": "1.0", "truncation": None, "padding": None}
    added_tokens = [{"id": int(index), **token} for index, token in added.items()]
    files = {
        "special_tokens_map.json": _json({name: token for name, token in names.items() if token}),
        "tokenizer.json": _json({**head, "added_tokens": added_tokens, **document}),
        "tokenizer_config.json": _json(config),
        **more,
    }
    known = {name: ids[token] for name, token in names.items() if token}
    return Tokenizer(
        files=files,
        size=len(ids),
        bos=known.get("bos_token"),
        eos=known["eos_token"],
        pad=known.get("pad_token"),
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
