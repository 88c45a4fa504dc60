from pathlib import Path
from typing import Any

import pytest

from reference import llama

pytestmark = pytest.mark.real


def test_llama_cpp_answers_in_sensible_english(real_gguf: Path) -> None:
    assert "4" in llama.answer(real_gguf, "What is 2+2?")


def test_perplexity_is_what_llama_cpp_gave_for_this_file_before(real_gguf: Path) -> None:
    assert llama.perplexity(real_gguf, chunks=1) == pytest.approx(17.73, rel=0.01)


def test_the_checkpoint_made_of_it_is_one_that_transformers_loads(real_checkpoint: Path) -> None:
    import torch
    import transformers

    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(real_checkpoint, dtype=torch.float32)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(real_checkpoint)
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    assert "Paris" in tokenizer.decode(model.generate(ids, max_new_tokens=6, do_sample=False)[0])
