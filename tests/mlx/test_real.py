"""The real model in MLX: mlx-lm answers from it, and its perplexity stays near the source's."""

import math
import pydoc_data.topics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlx_parts.folders import assert_same_model, convert, reference

from modelmill_mlx.offers import FORMAT

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]  # mlx-lm's and transformers' own warnings


def test_mlx_lm_answers_and_converts_to_the_same(real_checkpoint: Path, tmp_path: Path) -> None:
    import mlx_lm

    made = convert(real_checkpoint, tmp_path, "4bit", group_size=32, threads=2)
    assert_same_model(
        made, reference(real_checkpoint, tmp_path / "reference", quantize=True, q_bits=4, q_group_size=32)
    )
    model, tokenizer = mlx_lm.load(str(made))[:2]
    # Two tokens: MLX's quantized kernels take seconds for each on a CPU.
    assert (
        mlx_lm.generate(model, tokenizer, prompt="The capital of France is", max_tokens=2).strip().startswith("Paris")
    )


def test_perplexity_by_dequantized_weights(real_checkpoint: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(real_checkpoint, dtype=torch.float32)
    text = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(real_checkpoint)
    tokens = torch.tensor(tokenizer(text[:8000], add_special_tokens=False).input_ids[:1024]).reshape(2, 512)
    found = {"source": perplexity(model, tokens)}
    for scheme, size in (("8bit", 64), ("4bit", 64), ("4bit", 32)):
        name = f"{scheme}-g{size}"
        load(model, convert(real_checkpoint, tmp_path / name, scheme, group_size=size, threads=2))
        found[name] = perplexity(model, tokens)
    print(found)
    assert found["8bit-g64"] == pytest.approx(found["source"], rel=0.01)
    assert found["4bit-g64"] < 1.6 * found["source"]
    assert found["4bit-g32"] < min(1.4 * found["source"], found["4bit-g64"])


def load(model: Any, folder: Path) -> None:
    import torch

    weights = ((data.tensor.name, torch.tensor(data.values())) for data in tensors(folder))
    missing = model.load_state_dict(dict(weights), strict=False).missing_keys
    assert missing in ([], ["lm_head.weight"])
    model.tie_weights()


def tensors(folder: Path) -> Iterator[Any]:
    assert FORMAT.tensors is not None
    return FORMAT.tensors(folder)


def perplexity(model: Any, tokens: Any) -> float:
    """Over the second half of each chunk."""
    import torch

    with torch.no_grad():
        scores = torch.log_softmax(model(tokens).logits[:, 255:-1], -1)
    chosen = scores.gather(-1, tokens[:, 256:, None])
    return math.exp(-float(chosen.mean()))
