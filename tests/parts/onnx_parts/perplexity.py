"""Perplexity on a text that every Python brings, for what ONNX Runtime computes and for what torch does."""

import math
import pydoc_data.topics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onnx_parts.folders import logits

Scorer = Callable[[list[int]], Any]
"""Token ids → logits [tokens, vocabulary]."""


def tokens(folder: Path, chunks: int) -> list[list[int]]:
    """CPython's `pydoc_data.topics`, in pieces of 512 tokens."""
    from tokenizers import Tokenizer

    topics = pydoc_data.topics.topics
    text = "\n".join(topics[key] for key in sorted(topics))
    ids: list[int] = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text[: chunks * 4096]).ids
    return [ids[at * 512 : (at + 1) * 512] for at in range(chunks)]


def by_onnx_runtime(folder: Path) -> Scorer:
    """What an ONNX folder computes."""
    return partial(logits, folder)


def by_torch(checkpoint: Path) -> Scorer:
    """What transformers computes from a checkpoint in float32."""
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)

    def scores(ids: list[int]) -> Any:
        with torch.no_grad():
            return model(torch.tensor([ids])).logits[0].numpy()

    return scores


def perplexity(scorer: Scorer, chunks: list[list[int]]) -> float:
    """Over the second half of each chunk."""
    losses: list[Any] = []
    for ids in chunks:
        scores = scorer(ids).astype(np.float64)[255:-1]
        top = scores.max(1)
        losses.append(top + np.log(np.exp(scores - top[:, None]).sum(1)) - scores[np.arange(256), ids[256:]])
    return math.exp(float(np.mean(losses)))
