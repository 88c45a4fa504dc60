import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import NASTY, TOPICS, comparable_fields, convert, predicted, reference

from modelmill.testing import make_checkpoint
from modelmill.testing.architectures import architecture
from modelmill.testing.tokenizers import make_tokenizer
from modelmill_gguf.fields import value
from modelmill_gguf.header import read_header
from reference import llama

TOKENS, TYPES, SCORES = (f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "scores"))


def token(content: str, *, special: bool = False, normalized: bool = False, **flags: bool) -> dict[str, Any]:
    return {
        "content": content,
        "special": special,
        "normalized": normalized,
        "lstrip": False,
        "rstrip": False,
        "single_word": False,
        **flags,
    }


# What llama.cpp's script treats in its own way: what looks special, word starts, letters that spell bytes.
TEXTS = (
    "<tool_call>",
    "<|x|>",
    "<|x",
    "▁▁",
    "a▁b",
    "a  b",
    "é€",
    "Ġz",
    "日本",
    "<pad>",
    "<unused7>",
    "[@BOS@]",
    "<\uff5cy\uff5c>",
)
ADDED = (
    *(
        token(f"{text[:-1]}{at}{text[-1]}", special=special, normalized=normalized)
        for at, (special, normalized) in enumerate([(False, False), (False, True), (True, False), (True, True)])
        for text in TEXTS
    ),
    token("<mask>"),
    token("▁▁"),
    token("▁▁▁", normalized=True),
    token("<\uff5cy\uff5c>"),
)


@dataclass(frozen=True)
class Case:
    """An architecture's tokenizer with tokens behind its own, and rows that no token has."""

    architecture: str
    tokenizer: str | None = None

    @property
    def name(self) -> str:
        return f"{self.architecture}_{self.tokenizer or 'own'}"

    def make(self, folder: Path, tokens: Sequence[dict[str, Any]]) -> Path:
        first = make_tokenizer(self.tokenizer or architecture(self.architecture).family).size
        config = {"vocab_size": first + len(tokens) + 3}
        source = make_checkpoint(folder / self.name, self.architecture, tokenizer=self.tokenizer, config=config)
        ids = {first + at: added for at, added in enumerate(tokens)}
        definition = json.loads((source / "tokenizer.json").read_text())
        definition["added_tokens"] += [{"id": at, **added} for at, added in ids.items()]
        (source / "tokenizer.json").write_text(json.dumps(definition))
        config = json.loads((source / "tokenizer_config.json").read_text())
        config["added_tokens_decoder"] |= {str(at): added for at, added in ids.items()}
        (source / "tokenizer_config.json").write_text(json.dumps(config))
        return source


CASES = (
    Case("llama"),
    Case("llama", "llama-3"),
    Case("qwen2"),
    Case("phi3", "phi-4"),
    Case("mistral"),
    Case("phi3"),
    Case("gemma3"),
)
SENTENCEPIECE = ("mistral_own", "phi3_own", "gemma3_own")


def own_piece(source: Path) -> str:
    """Make an ordinary piece of `tokenizer.model` one that its trainer was given, which no other file says."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    model.ParseFromString((source / "tokenizer.model").read_bytes())
    piece = next(piece for piece in model.pieces if piece.type == 1 and len(piece.piece) > 3)
    piece.type = 4
    (source / "tokenizer.model").write_bytes(model.SerializeToString())
    return str(piece.piece)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, llama_cpp_sdist: Path) -> Path:
    """Every case converted by both, llama.cpp's in one process; `pieces` have one of the trainer's."""
    folder = tmp_path_factory.mktemp("added")
    runs = []
    for case in CASES:
        for place in ("added", "pieces"):
            if place == "pieces" and case.name not in SENTENCEPIECE:
                continue
            source = case.make(folder / place, ADDED if place == "added" else ())
            if place == "pieces":
                own_piece(source)
            result = convert(source, folder / f"ours-{place}" / case.name, "F32") / "model.gguf"
            pre = value(read_header(result).fields["tokenizer.ggml.pre"])
            runs.append((source, folder / f"{place}-{case.name}.gguf", "F32", pre))
    reference(llama_cpp_sdist, runs)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_added_tokens_are_llama_cpps(converted: Path, case: Case) -> None:
    ours = comparable_fields(converted / "ours-added" / case.name / "model.gguf")
    theirs = comparable_fields(converted / f"added-{case.name}.gguf")
    texts = value(ours[TOKENS])
    for key in (TOKENS, TYPES, SCORES):
        pairs = zip(texts, value(ours[key]), value(theirs[key]), strict=True) if key in ours else ()
        assert [pair for pair in pairs if pair[1] != pair[2]] == [], key
    assert ours == theirs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_predicts_a_file_with_added_tokens(converted: Path, case: Case) -> None:
    file = converted / "ours-added" / case.name / "model.gguf"
    assert dict(predicted(converted / "added" / case.name, "F32").files) == {"model.gguf": file.stat().st_size}


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_a_piece_of_the_trainers_that_no_other_file_names_is_llama_cpps_ordinary_one(
    converted: Path, name: str
) -> None:
    ours = comparable_fields(converted / "ours-pieces" / name / "model.gguf")
    assert ours == comparable_fields(converted / f"pieces-{name}.gguf")
    at = value(ours[TOKENS]).index(own_piece(converted / "pieces" / name))
    assert value(ours[TYPES])[at] == 1


# Tokens that transformers finds in a text as llama.cpp does. It would not find one that is normalized where the
# normalizer puts a word start before it: transformers changes the token in the same way, and looks for that.
FOUND = (
    token("<tool_call>"),
    token("<extra>", special=True),
    token("<|x|>"),
    token("</tool_call>"),
    token("<|y|>", special=True),
)
NORMALIZED = (token("<tool_response>", normalized=True), token("<|z|>", special=True, normalized=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_longer_vocabulary_tokenizes_as_transformers_does(tmp_path: Path, case: Case) -> None:
    from tokenizers import Tokenizer

    prepends = case.name in {"mistral_own", "phi3_own"}
    tokens = FOUND if prepends else (*FOUND, *NORMALIZED)
    source = case.make(tmp_path / "source", tokens)
    file = convert(source, tmp_path / "out", "F32") / "model.gguf"
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    calls = "".join(f"{each['content']}call {each['content']}\n" for each in tokens)
    new = {tokenizer.token_to_id(each["content"]) for each in tokens}
    with llama.loaded(file) as model:
        for text in (TOPICS, *NASTY):
            given = unicodedata.normalize("NFC", f"{calls}{text}{calls}{text[:100]} {calls}")
            ours = model.tokenize(given.encode(), add_bos=False, special=True)
            assert ours == tokenizer.encode(given, add_special_tokens=False).ids, text[:80]
            assert new <= set(ours)
    assert len(value(read_header(file).fields[TOKENS])) == tokenizer.get_vocab_size() + 3
