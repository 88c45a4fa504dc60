"""Real models against llama.cpp's converter and transformers: SmolLM2 always, Gemma 3 where it is asked for.

Gemma 3 takes 240 MB of packages, 3 GB of memory and some minutes: MODELMILL_TEST_GEMMA=1 runs it too.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_conversions import NASTY, TOPICS, comparable_fields, convert, predicted, reference, tensor_bytes

from reference import llama, models

pytestmark = pytest.mark.real

GEMMA = pytest.mark.skipif("MODELMILL_TEST_GEMMA" not in os.environ, reason="MODELMILL_TEST_GEMMA is not set")


@pytest.fixture(scope="module", params=["smollm2", pytest.param("gemma3", marks=GEMMA)])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    return models.smollm2_checkpoint() if request.param == "smollm2" else models.gemma3_checkpoint()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The model in its own precision."""
    return convert(checkpoint, tmp_path_factory.mktemp("converted") / "out", "BF16") / "model.gguf"


def test_it_converts_as_llama_cpp_converts_it(
    tmp_path: Path, checkpoint: Path, converted: Path, llama_cpp_sdist: Path
) -> None:
    schemes = ("F16", "BF16")
    # llama.cpp's script reads a size out of the folder's name where it finds one, and counts parameters otherwise.
    unnamed = tmp_path / "checkpoint"
    unnamed.symlink_to(checkpoint)
    reference(llama_cpp_sdist, [(unnamed, tmp_path / f"{scheme}.gguf", scheme, None) for scheme in schemes])
    for scheme in schemes:
        ours = converted if scheme == "BF16" else convert(checkpoint, tmp_path / scheme, scheme) / "model.gguf"
        theirs = tmp_path / f"{scheme}.gguf"
        assert comparable_fields(ours) == comparable_fields(theirs)
        assert tensor_bytes(ours) == tensor_bytes(theirs)
        assert dict(predicted(checkpoint, scheme).files) == {"model.gguf": ours.stat().st_size}


def test_its_tokens_are_those_of_transformers(checkpoint: Path, converted: Path) -> None:
    # AutoTokenizer makes a GPT2Tokenizer from its vocabulary alone, and forgets tokenizer.json's rule for digits.
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(checkpoint)
    with llama.loaded(converted) as model:
        for text in (TOPICS, *NASTY):
            ours = model.tokenize(text.encode(), add_bos=False, special=True)
            assert ours == tokenizer(text, add_special_tokens=False).input_ids, text[:80]


def test_llama_cpp_predicts_what_transformers_predicts(tmp_path: Path, checkpoint: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    file = convert(checkpoint, tmp_path / "out", "F32") / "model.gguf"
    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(checkpoint)
    ids: list[int] = tokenizer(TOPICS[:2000]).input_ids[:96]
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
    with torch.inference_mode():
        theirs = model(torch.tensor([ids])).logits[0].numpy()
    ours = llama.logits(file, ids)
    # llama.cpp rounds the activations on their way into each matrix, transformers does not.
    assert np.abs(ours - theirs).max() < 0.02 * theirs.std()
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.95
