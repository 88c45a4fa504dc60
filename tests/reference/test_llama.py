from pathlib import Path

import pytest

from reference import llama

pytestmark = pytest.mark.real


def test_llama_cpp_answers_in_sensible_english(real_gguf: Path) -> None:
    assert "4" in llama.answer(real_gguf, "What is 2+2?")


def test_perplexity_is_what_llama_cpp_gave_for_this_file_before(real_gguf: Path) -> None:
    assert llama.perplexity(real_gguf, chunks=1) == pytest.approx(17.73, rel=0.01)
