"""The real model in ONNX: onnxruntime-genai answers from the folder as it lies, and perplexity stays in bounds."""

import math
import pydoc_data.topics
from pathlib import Path
from typing import Any

import pytest
from onnx_parts.folders import build, logits, quantize

from modelmill_onnx.offers import FORMAT

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]  # torch's and transformers' own warnings
TURN = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, real_checkpoint: Path) -> Path:
    folder = tmp_path_factory.mktemp("smollm2") / "onnx"
    return build(real_checkpoint, folder, threads=2, layout="foundry-local", model_name="smollm2:1")


@pytest.mark.parametrize("scheme", ["fp32", "int8", "int4"])
def test_onnxruntime_genai_answers_from_the_folder_as_it_lies(built: Path, tmp_path: Path, scheme: str) -> None:
    made = built if scheme == "fp32" else quantize(built, tmp_path / "made", scheme, threads=2)
    FORMAT.validate(made)
    assert FORMAT.facts(made).scheme == scheme
    assert (made / "inference_model.json").is_file()
    assert "Paris" in answer(made, TURN)


def answer(folder: Path, prompt: str, tokens: int = 24) -> str:
    import onnxruntime_genai as genai

    model = genai.Model(str(folder))
    tokenizer = genai.Tokenizer(model)
    ids = tokenizer.encode(prompt)
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(ids) + tokens, do_sample=False)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(ids)
    found = []
    while not generator.is_done():
        generator.generate_next_token()
        found.append(generator.get_next_tokens()[0])
    text: str = tokenizer.decode(found)
    return text


def test_perplexity_of_fp32_is_the_sources_and_int4_stays_near(built: Path, tmp_path: Path) -> None:
    ids = tokens(built, 2)
    source = perplexity(built, ids)
    assert source == pytest.approx(11.7, rel=0.5)
    assert perplexity(quantize(built, tmp_path / "int8", "int8", threads=2), ids) == pytest.approx(source, rel=0.02)
    assert perplexity(quantize(built, tmp_path / "int4", "int4", threads=2), ids) < 1.5 * source


def tokens(folder: Path, chunks: int) -> list[list[int]]:
    from tokenizers import Tokenizer

    text = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
    ids: list[int] = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text[: chunks * 4096]).ids
    return [ids[at * 512 : (at + 1) * 512] for at in range(chunks)]


def perplexity(folder: Path, chunks: list[list[int]]) -> float:
    """Over the second half of each chunk."""
    import numpy as np

    losses: list[Any] = []
    for ids in chunks:
        scores = logits(folder, ids).astype(np.float64)[255:-1]
        top = scores.max(1)
        losses.append(top + np.log(np.exp(scores - top[:, None]).sum(1)) - scores[np.arange(256), ids[256:]])
    return math.exp(float(np.mean(losses)))
