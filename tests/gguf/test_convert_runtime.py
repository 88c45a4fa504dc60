import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_conversions import (
    BEYOND_ROPE,
    FLAT_ROPE,
    LINEAR_ROPE,
    LLAMA3_ROPE,
    LONG_FACTORS,
    LONG_ROPE,
    NASTY,
    NESTED_ROPE,
    PHI_4,
    TOLD_YARN,
    TOPICS,
    YARN,
    YARN_ROPE,
    Case,
    convert,
)

from modelmill.checkpoint import read_tokenizer
from reference import llama

MSCALES = {"mscale": 1.0, "mscale_all_dim": 0.8}
STATED_FACTOR = {**LONG_FACTORS, "factor": 8.0}
STATED_ATTENTION = {**LONG_FACTORS, "attention_factor": 1.5}
# Six layers give gemma3 one that attends to everything, four give smollm3 one without rope.
CASES = (
    Case(architecture="llama", scheme="F32"),
    Case(architecture="mistral", scheme="F32"),
    Case(architecture="qwen2", scheme="F32"),
    Case(architecture="qwen3", scheme="F32"),
    Case(architecture="gemma3", scheme="F32", layers=6),
    Case(architecture="phi3", scheme="F32"),
    Case(architecture="smollm3", scheme="F32", layers=4),
    Case(architecture="llama", label="threefold", scheme="F32", config=LLAMA3_ROPE),
    Case(architecture="llama", label="linear", scheme="F32", config=LINEAR_ROPE),
    Case(architecture="qwen2", label="yarn", scheme="F32", config=YARN_ROPE),
    Case(architecture="phi3", label="long", scheme="F32", config=LONG_ROPE),
    Case(architecture="phi3", label="four", scheme="F32", config=PHI_4, tokenizer="phi-4"),
    Case(architecture="llama", label="three", scheme="F32", config=LLAMA3_ROPE, tokenizer="llama-3"),
)
# What the rotary embedding is told, as far as llama.cpp computes it; test_counterparts.py has the rest.
ROPES = (
    Case(architecture="llama", label="flat", scheme="F32", config=FLAT_ROPE),
    Case(architecture="llama", label="yarn", scheme="F32", config=YARN_ROPE),
    Case(architecture="qwen2", label="told", scheme="F32", config=TOLD_YARN),
    Case(
        architecture="qwen2", label="louder", scheme="F32", config={"rope_scaling": {**YARN, "attention_factor": 1.4}}
    ),
    Case(architecture="qwen2", label="deepseek", scheme="F32", config={"rope_scaling": {**YARN, **MSCALES}}),
    Case(architecture="qwen3", label="yarn", scheme="F32", config=YARN_ROPE),
    Case(architecture="smollm3", label="yarn", scheme="F32", layers=4, config=YARN_ROPE),
    Case(architecture="gemma3", label="linear", scheme="F32", layers=6, config=LINEAR_ROPE),
    Case(architecture="gemma3", label="yarn", scheme="F32", layers=6, config=YARN_ROPE),
    Case(architecture="gemma3", label="nested", scheme="F32", layers=6, config=NESTED_ROPE),
    Case(architecture="phi3", label="beyond", scheme="F32", config=BEYOND_ROPE),
    Case(architecture="phi3", label="factor", scheme="F32", config={**BEYOND_ROPE, "rope_scaling": STATED_FACTOR}),
    Case(architecture="phi3", label="louder", scheme="F32", config={**BEYOND_ROPE, "rope_scaling": STATED_ATTENTION}),
)
# Each kind of vocabulary once; test_pretokenizers.py tries every pre-tokenizer.
VOCABULARIES = [case for case in CASES if not case.label or case.tokenizer]
MORE = [
    Case(architecture="llama", label=name.replace(".", ""), scheme="F32", tokenizer=name)
    for name in ("llama-3.1", "tekken", "gpt-2", "deepseek-v3", "qwen3.5")
]


@pytest.mark.parametrize("case", CASES + ROPES, ids=lambda case: case.name)
def test_llama_cpp_predicts_what_transformers_predicts(tmp_path: Path, case: Case) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    source = case.make(tmp_path / "source")
    file = convert(source, tmp_path / "out", case.scheme) / "model.gguf"
    size = json.loads((source / "config.json").read_text())["vocab_size"]
    ids = [int(each) for each in np.random.default_rng(0).integers(0, size, 96)]
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    with torch.inference_mode():
        theirs = model(torch.tensor([ids])).logits[0].numpy()
    ours = llama.logits(file, ids)
    spread = theirs.std()
    assert np.abs(ours - theirs).max() < 0.02 * spread
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.95


@pytest.mark.parametrize("case", VOCABULARIES, ids=lambda case: case.name)
def test_llama_cpp_tokenizes_as_transformers_does(tmp_path: Path, case: Case) -> None:
    # AutoTokenizer makes a GPT2Tokenizer from its vocabulary alone, and forgets tokenizer.json's rule for digits.
    from transformers import PreTrainedTokenizerFast

    source = case.make(tmp_path / "source")
    file = convert(source, tmp_path / "out", case.scheme) / "model.gguf"
    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(source)
    normalizes = json.loads((source / "tokenizer.json").read_text())["normalizer"] == {"type": "NFC"}
    with llama.loaded(file) as model:
        for text in (TOPICS, *NASTY):
            # llama.cpp takes text as it comes; a tokenizer that composes characters first is given its own due.
            given = unicodedata.normalize("NFC", text) if normalizes else text
            ours = model.tokenize(given.encode(), add_bos=False, special=True)
            assert ours == tokenizer(text, add_special_tokens=False).input_ids, text[:80]


@pytest.mark.parametrize("case", [*VOCABULARIES, *MORE], ids=lambda case: case.name)
def test_llama_cpp_adds_the_tokens_around_a_text_that_the_tokenizer_adds(tmp_path: Path, case: Case) -> None:
    from tokenizers import Tokenizer

    source = case.make(tmp_path / "source")
    file = convert(source, tmp_path / "out", case.scheme) / "model.gguf"
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    template = read_tokenizer(source)
    with llama.loaded(file) as model:
        assert model.tokenize(b"hello there", add_bos=True, special=False) == tokenizer.encode("hello there").ids
        assert template is not None
        assert model.metadata.get("tokenizer.chat_template") == template.chat_template
