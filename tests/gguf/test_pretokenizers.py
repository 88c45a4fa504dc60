import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import NASTY, TOPICS, convert

from modelmill import ConvertError
from modelmill.testing import make_checkpoint
from modelmill.testing.tokenizers import make_tokenizer
from modelmill_gguf import vocabulary
from modelmill_gguf.fields import value
from modelmill_gguf.header import read_header
from modelmill_gguf.pretokenizers import PRE_TOKENIZERS, PreTokenizer
from reference import llama

# Each of llama.cpp's names, and the family of tokenizers that has it.
FAMILIES = {
    "dbrx": "llama-3",
    "llama-bpe": "llama-3.1",
    "qwen2": "qwen2",
    "qwen35": "qwen3.5",
    "gpt-4o": "phi-4",
    "tekken": "tekken",
    "deepseek-v3": "deepseek-v3",
    "smollm": "smollm",
    "gpt-2": "gpt-2",
}
# Merges across the places where one of them cuts a text and another does not: digits, contractions, a change of
# case, line ends behind punctuation, a letter and the accent that combines with it, CJK and Latin.
CUTS = (
    *(("1", "2"), ("12", "3"), ("123", "4"), ("Ġ", "1"), ("Ġ", "2"), ("Ġ1", "2")),
    *(("'", "s"), ("'", "t"), ("n", "'t"), ("'", "S"), ("'S", "H"), ("'", "L"), ("W", "E"), ("o", "B"), ("x", "B")),
    *((")", "Ċ"), (":", "Ċ"), ("/", "Ċ"), ("Ċ", "Ċ"), ("Ġ", "Ċ"), ("Ġ", "Ġ"), (".", "w"), ("ĠĠ", "Ġ")),
    *(("Ì", "ģ"), ("x", "Ìģ"), ("æ", "Ĺ"), ("æĹ", "¥"), ("æ", "ľ"), ("æľ", "¬"), ("æľ¬", "a"), ("æĹ¥", "æľ¬")),
)
TEXTS = (*NASTY, "fooBar xBar 'SHE can't", "日本abc", "a/\nb)\n\n c:\n", "pre.word 12a 1234")
ACCENT = "x\u0301y"  # llama.cpp's own expressions for these two leave accents that combine out
WITHOUT_ACCENTS = {"gpt-4o", "tekken"}


def made(folder: Path, family: str, *, words: tuple[str, ...] = (), **model: Any) -> Path:
    """A checkpoint whose tokenizer also has the merges of CUTS, and these words, which no merges make."""
    first = make_tokenizer(family).size
    tokens = dict.fromkeys((*(left + right for left, right in CUTS), *words))
    source = make_checkpoint(folder, "llama", tokenizer=family, config={"vocab_size": first + len(tokens)})
    definition = json.loads((source / "tokenizer.json").read_text())
    known = definition["model"]
    new = [text for text in tokens if text not in known["vocab"]]
    # The tokenizers library counts tokens that are added alone from the vocabulary's end on.
    known["vocab"] |= {each["content"]: each["id"] for each in definition["added_tokens"]}
    known["vocab"] |= {text: first + at for at, text in enumerate(new)}
    known["merges"] += [list(pair) for pair in CUTS if list(pair) not in known["merges"]]
    known.update(model)
    (source / "tokenizer.json").write_text(json.dumps(definition))
    return source


def given(source: Path, text: str) -> str:
    """The text as llama.cpp has to get it, which composes no characters."""
    normalizes = json.loads((source / "tokenizer.json").read_text())["normalizer"] == {"type": "NFC"}
    return unicodedata.normalize("NFC", text) if normalizes else text


def differing(source: Path, file: Path, texts: tuple[str, ...]) -> list[str]:
    """The texts that llama.cpp makes other tokens of than the tokenizers library."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    with llama.loaded(file) as model:
        return [
            text[:80]
            for text in (given(source, each) for each in texts)
            if model.tokenize(text.encode(), add_bos=False, special=True)
            != tokenizer.encode(text, add_special_tokens=False).ids
        ]


def test_every_pre_tokenizer_is_tried() -> None:
    assert set(FAMILIES) == {known.name for known in PRE_TOKENIZERS}


@pytest.mark.parametrize("name", FAMILIES)
def test_llama_cpp_cuts_a_text_as_the_tokenizer_does(tmp_path: Path, name: str) -> None:
    source = made(tmp_path / "source", FAMILIES[name])
    file = convert(source, tmp_path / "out", "F32") / "model.gguf"
    assert value(read_header(file).fields["tokenizer.ggml.pre"]) == name
    assert differing(source, file, (TOPICS, *TEXTS)) == []
    assert differing(source, file, (ACCENT,)) == ([ACCENT] if name in WITHOUT_ACCENTS else [])


@pytest.mark.parametrize("name", FAMILIES)
def test_these_texts_tell_it_from_every_other(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = made(tmp_path / "source", FAMILIES[name])
    same = []
    texts = TEXTS if name in WITHOUT_ACCENTS else (*TEXTS, ACCENT)
    for other in FAMILIES:
        known = PreTokenizer(name=other, steps=(), ignore_merges=True)
        monkeypatch.setattr(vocabulary, "recognise", lambda _, known=known: known)
        file = convert(source, tmp_path / other, "F32") / "model.gguf"
        same += [other] if not differing(source, file, texts) else []
    # They differ in words that no merges make alone, which the first has none of.
    assert same == (["dbrx", "llama-bpe"] if name == "dbrx" else [name])


def test_whole_words_that_llama_cpp_would_not_find_are_refused(tmp_path: Path) -> None:
    file = convert(made(tmp_path / "all", "phi-4", ignore_merges=True), tmp_path / "out", "F32") / "model.gguf"
    assert differing(tmp_path / "all", file, TEXTS) == []
    source = made(tmp_path / "one", "phi-4", ignore_merges=True, words=("Ġinterpreter",))
    with pytest.raises(ConvertError, match="no merge makes the token 'Ġinterpreter'"):
        convert(source, tmp_path / "none", "F32")
