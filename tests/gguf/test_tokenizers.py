import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import convert, predicted

from modelmill import ConvertError
from modelmill.testing import make_checkpoint
from modelmill_gguf.fields import value
from modelmill_gguf.header import read_header
from modelmill_gguf.pretokenizers import recognise
from reference import llama

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = BYTES | {"use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
# As the tokenizer.json of Llama 3, Qwen 2.5, Phi-4-mini and Mistral Nemo have them.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# As DeepSeek V3's has them, one after another.
DEEPSEEK = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ\u30a0-ヿ]+",
    (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)


def split(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def definition(*steps: dict[str, Any], normalizer: Any = None, ignore_merges: bool = False) -> dict[str, Any]:
    pre = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": list(steps)}
    return {
        "normalizer": normalizer,
        "pre_tokenizer": pre,
        "model": {"type": "BPE", "ignore_merges": ignore_merges},
    }


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (definition(split(LLAMA3), BYTES, ignore_merges=True), "llama-bpe"),
        (definition(split(LLAMA3), BYTES), "dbrx"),
        (definition(split(QWEN2), BYTES, normalizer={"type": "NFC"}), "qwen2"),
        (definition(split(QWEN2), BYTES), "qwen2"),
        (definition(split(O200K), BYTES), "gpt-4o"),
        (definition(split(O200K), BYTES, ignore_merges=True), "gpt-4o"),
        (definition(split(TEKKEN), BYTES, ignore_merges=True), "tekken"),
        (definition(split(QWEN35), BYTES, normalizer={"type": "NFC"}), "qwen35"),
        (definition(*map(split, DEEPSEEK), BYTES), "deepseek-v3"),
        (definition(DIGITS, GPT2), "smollm"),
        (definition(GPT2), "gpt-2"),
    ],
)
def test_pre_tokenizers_are_recognised_by_their_definition(given: dict[str, Any], name: str) -> None:
    assert recognise(given).name == name


@pytest.mark.parametrize(
    "given",
    [
        definition(GPT2 | {"add_prefix_space": True}),
        definition(DIGITS | {"individual_digits": False}, GPT2),
        definition(split(QWEN2 + "|x"), BYTES),
        definition(split(QWEN2), BYTES, normalizer={"type": "Lowercase"}),
        definition(split(QWEN2) | {"behavior": "MergedWithNext"}, BYTES),
        definition(split(TEKKEN), BYTES),
        definition(split(QWEN2), BYTES, ignore_merges=True),
        definition(split(QWEN35), BYTES, ignore_merges=True),
        definition(*map(split, DEEPSEEK), BYTES, ignore_merges=True),
        definition(DIGITS, GPT2, ignore_merges=True),
        definition(GPT2, ignore_merges=True),
        {"normalizer": None, "pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": 3}},
        {"pre_tokenizer": [1]},
        {},
    ],
)
def test_a_definition_that_differs_in_anything_is_no_match(given: dict[str, Any]) -> None:
    with pytest.raises(ConvertError, match="pre_tokenizer"):
        recognise(given)


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_extended_vocabulary_is_still_recognised_and_its_tokens_are_in_the_file(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    source = make_checkpoint(tmp_path / "source", "qwen2")
    rows = json.loads((source / "config.json").read_text())["vocab_size"]

    def extend(tokenizer: dict[str, Any]) -> None:
        last = tokenizer["added_tokens"][-1]
        last["content"] = "<tool>"
        last["special"] = False

    edit(source / "tokenizer.json", extend)
    edit(source / "tokenizer_config.json", lambda config: config.pop("added_tokens_decoder", None))
    file = convert(source, tmp_path / "out", "F32") / "model.gguf"
    fields = read_header(file).fields
    assert value(fields["tokenizer.ggml.pre"]) == "qwen2"
    tokens = value(fields["tokenizer.ggml.tokens"])
    assert len(tokens) == rows
    at = tokens.index("<tool>")
    assert value(fields["tokenizer.ggml.token_type"])[at] == 4
    with llama.loaded(file) as model:
        ours = model.tokenize(b"call <tool> now", add_bos=False, special=True)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    assert ours == tokenizer.encode("call <tool> now", add_special_tokens=False).ids


def test_rows_without_a_token_are_padded(tmp_path: Path) -> None:
    small = make_checkpoint(tmp_path / "small", "llama")
    rows = json.loads((small / "config.json").read_text())["vocab_size"] + 40
    source = make_checkpoint(tmp_path / "source", "llama", config={"vocab_size": rows})
    file = convert(source, tmp_path / "out", "F32") / "model.gguf"
    fields = read_header(file).fields
    assert value(fields["tokenizer.ggml.tokens"])[-1] == f"[PAD{rows - 1}]"
    assert value(fields["tokenizer.ggml.token_type"])[-1] == 5
    assert dict(predicted(source, "F32").files) == {"model.gguf": file.stat().st_size}


@pytest.mark.parametrize("architecture", ["mistral", "phi3", "gemma3"])
def test_sentencepiece_without_its_model_file_tokenizes_the_same(tmp_path: Path, architecture: str) -> None:
    from tokenizers import Tokenizer

    source = make_checkpoint(tmp_path / "source", architecture)
    (source / "tokenizer.model").unlink()
    file = convert(source, tmp_path / "out", "F32") / "model.gguf"
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    with llama.loaded(file) as model:
        for text in ("The quick brown fox", "  two  spaces\n", "日本語 🚀", "don't 12345"):
            ours = model.tokenize(text.encode(), add_bos=False, special=True)
            assert ours == tokenizer.encode(text, add_special_tokens=False).ids, text
    assert dict(predicted(source, "F32").files) == {"model.gguf": file.stat().st_size}


def test_a_token_of_a_sibling_with_images_is_left_out(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "gemma3")
    rows = json.loads((source / "config.json").read_text())["vocab_size"]
    token = {"id": rows, "content": "<image_soft_token>", "special": True, "normalized": False}
    edit(source / "tokenizer.json", lambda tokenizer: tokenizer["added_tokens"].append(token))
    file = convert(source, tmp_path / "out", "BF16") / "model.gguf"
    assert "<image_soft_token>" not in value(read_header(file).fields["tokenizer.ggml.tokens"])
    assert dict(predicted(source, "BF16").files) == {"model.gguf": file.stat().st_size}
