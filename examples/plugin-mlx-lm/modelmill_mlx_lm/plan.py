"""What comes of a checkpoint, and what that takes: this runs when a build is planned, and loads no tool."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from modelmill import Estimate, Facts, Job, Outlook, Refusal, Tensor
from modelmill.checkpoint import tensor_bytes

FAMILIES: Final = (
    "cohere",
    "ernie4_5",
    "gemma2",
    "gemma3_text",
    "glm4",
    "gpt_neox",
    "helium",
    "llama",
    "mistral",
    "mixtral",
    "nemotron",
    "olmoe",
    "phi",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "stablelm",
)
"""Values of config.json's model_type that were converted and computed what transformers computes.

mlx-lm knows more; one that was not tried is refused rather than believed.
"""
SCHEMES: Final[Mapping[str, int]] = {
    "bf16": 16,
    "f16": 16,
    "f32": 32,
    "2bit": 2,
    "3bit": 3,
    "4bit": 4,
    "5bit": 5,
    "6bit": 6,
    "8bit": 8,
}
"""The schemes of the format `mlx` that are offered here, and how many bits they give a weight."""
FLOATS: Final[Mapping[str, str]] = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
"""Schemes that quantize nothing, and mlx-lm's words for them."""
TOKENIZER: Final = ("tokenizer.json", "tokenizer.model", "vocab.json")
COPIED: Final = (
    *TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""What stays as the checkpoint has it; mlx-lm would write the tokenizer's files anew through transformers."""
MATRIX: Final = 2
_SCALE_AND_BIAS: Final = 32
_TOOLS_MEMORY: Final = 400 << 20
"""Bytes that mlx-lm and transformers take before the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What build.toml may say of a target."""

    group_size: Literal[32, 64, 128] = 64
    """Values that share a scale and a bias."""


def run(job: Job[Options]) -> None:
    """Convert, in the tool environment that the engine made."""
    from modelmill_mlx_lm.convert import run

    run(job)


def infer(outlook: Outlook[Options]) -> Facts | Refusal:
    """What comes out, or why nothing can."""
    facts = outlook.facts
    family = facts.config.get("model_type")
    if family not in FAMILIES:
        return Refusal(reason=f"the model_type {family!r} was never tried with mlx-lm; there is {', '.join(FAMILIES)}")
    if facts.quantization is not None:
        return Refusal(reason="the checkpoint is quantized already; start from the one that it was made of")
    if not any(name in facts.files for name in TOKENIZER):
        return Refusal(reason=f"the checkpoint has no tokenizer; mlx-lm needs one of {', '.join(TOKENIZER)}")
    scheme = outlook.scheme or "bf16"
    if scheme not in FLOATS and not any(quantizes(tensor, outlook.options) for tensor in facts.tensors):
        size = outlook.options.group_size
        return Refusal(reason=f"no layer has rows that groups of {size} divide, so {scheme} would quantize nothing")
    quantization = facts.quantization if scheme in FLOATS else scheme
    return replace(facts, format="mlx", scheme=scheme, tensors=(), files={}, quantization=quantization)


def estimate(outlook: Outlook[Options], inferred: Facts) -> Estimate:
    """What it takes: mlx-lm holds the model as it came and as it becomes."""
    facts, scheme = outlook.facts, inferred.scheme or "bf16"
    weights = sum(map(tensor_bytes, facts.tensors))
    copied = sum(size for name, size in facts.files.items() if name in COPIED)
    index = sum(len(tensor.name) + 200 for tensor in facts.tensors)
    size = copied + index + sum(_bytes(tensor, scheme, outlook.options) for tensor in facts.tensors)
    return Estimate(bytes_out=size, peak_memory=_TOOLS_MEMORY + 2 * weights + size, seconds=6 + weights / 5e7)


def quantizes(tensor: Tensor, options: Options) -> bool:
    """Whether a tensor is a matrix, or a stack of them, with rows that groups divide."""
    return len(tensor.shape) >= MATRIX and tensor.shape[-1] % options.group_size == 0


def _bytes(tensor: Tensor, scheme: str, options: Options) -> int:
    values = math.prod(tensor.shape)
    if scheme in FLOATS:
        return values * SCHEMES[scheme] // 8
    if not quantizes(tensor, options):
        return tensor_bytes(tensor)
    return values * SCHEMES[scheme] // 8 + values // options.group_size * _SCALE_AND_BIAS // 8
