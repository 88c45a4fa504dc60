"""Which tensors are quantized, and what comes of them: this runs when a build is planned, and loads no tool."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from modelmill import Estimate, Facts, Job, Outlook, Refusal, Tensor
from modelmill.checkpoint import safetensors_size, tensor_bytes

NAME = "compressed-tensors"
SCHEMES = ("W4A16",)
WEIGHTS = "model.safetensors"
GROUP_SIZES = (128, 64, 32)
"""What vLLM's kernels for four-bit weights take."""
COPIED = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
"""What a runtime needs beside weights and configuration; it stays as it is."""
_LINEAR = re.compile(r"layers\.\d+\..*_proj\.weight$")
MATRIX = 2
_FLOATS = ("BF16", "F16", "F32")
_BLOCK_MEMORY = 96 << 20
"""Bytes that the work on one block of rows takes (see `quantize.BLOCK`)."""


@dataclass(frozen=True)
class Options:
    """What build.toml may say of a target."""

    group_size: Literal[32, 64, 128] = 128
    """Weights that share a scale. 128 is what the name W4A16 stands for; smaller groups cost 16 bits each."""
    observer: Literal["mse", "minmax"] = "mse"
    """How a group's scale is found: the one of least squared error, or the one at which nothing is cut off."""


def run(job: Job[Options]) -> None:
    """Write the quantized checkpoint. numpy is loaded here, in the step's own process, and not before."""
    from modelmill_compressed_tensors.quantize import quantize

    quantize(job)


def infer(outlook: Outlook[Options]) -> Facts | Refusal:
    """What comes out, or why nothing can."""
    facts, size = outlook.facts, outlook.options.group_size
    linear = [tensor for tensor in facts.tensors if is_linear(tensor)]
    if "quantization_config" in facts.config:
        return Refusal(reason="the checkpoint is quantized already; start from the one that it was made of")
    if not linear:
        return Refusal(reason="no tensor is called like a linear layer of a decoder (layers.N.…_proj.weight)")
    for tensor in linear:
        if tensor.dtype not in _FLOATS:
            return Refusal(reason=f"{tensor.name} is {tensor.dtype}; W4A16 starts from {', '.join(_FLOATS)}")
        if tensor.shape[1] % size:
            return Refusal(reason=_no_group(tensor, size, linear))
    tensors = layout(facts.tensors, size)
    config = configuration(facts.config, facts.tensors, size)
    files = {name: count for name, count in facts.files.items() if name in COPIED}
    files |= {"config.json": len(as_json(config)), WEIGHTS: safetensors_size(tensors)}
    return replace(
        facts, format=NAME, scheme="W4A16", quantization="W4A16", config=config, tensors=tensors, files=files
    )


def estimate(outlook: Outlook[Options], inferred: Facts) -> Estimate:
    """What it takes: the largest tensor, which is mapped, a block of rows, and the time to try the scales."""
    largest = max(map(tensor_bytes, outlook.facts.tensors), default=0)
    weights = sum(map(tensor_bytes, outlook.facts.tensors))
    rate = 2.5e7 if outlook.options.observer == "mse" else 2e8
    size = sum(inferred.files.values())
    return Estimate(bytes_out=size, peak_memory=largest + _BLOCK_MEMORY, seconds=weights / rate)


def is_linear(tensor: Tensor) -> bool:
    """Whether a tensor is the weight of a decoder's linear layer: not an embedding, a router, or the output."""
    return len(tensor.shape) == MATRIX and _LINEAR.search(tensor.name) is not None


def stored(tensor: Tensor, group_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """How the format stores a quantized weight: eight codes in a word, a scale for each group, its own shape."""
    layer, (rows, columns) = tensor.name.removesuffix(".weight"), tensor.shape
    return (
        Tensor(name=f"{layer}.weight_packed", dtype="I32", shape=(rows, columns // 8)),
        Tensor(name=f"{layer}.weight_scale", dtype=tensor.dtype, shape=(rows, columns // group_size)),
        Tensor(name=f"{layer}.weight_shape", dtype="I64", shape=(2,)),
    )


def layout(tensors: Sequence[Tensor], group_size: int) -> tuple[Tensor, ...]:
    """The tensors of the result, in the order of the file: by the name of what they were made of."""
    return tuple(
        item
        for tensor in sorted(tensors, key=lambda tensor: tensor.name)
        for item in (stored(tensor, group_size) if is_linear(tensor) else (tensor,))
    )


def configuration(config: Mapping[str, Any], tensors: Sequence[Tensor], group_size: int) -> dict[str, Any]:
    """config.json of the result: what it was, and how its weights are quantized.

    The table is what compressed-tensors' QuantizationConfig reads, and vLLM through it.
    """
    matrices = (tensor.name.removesuffix(".weight") for tensor in tensors if len(tensor.shape) > 1)
    linear = {tensor.name.removesuffix(".weight") for tensor in tensors if is_linear(tensor)}
    others = {name for name in matrices if name not in linear and not name.endswith("embed_tokens")}
    weights = {
        "num_bits": 4,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": group_size,
        "dynamic": False,
    }
    table = {
        "quant_method": NAME,
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "format": "pack-quantized"}},
        "ignore": sorted({"lm_head", *others}),
    }
    return {**config, "quantization_config": table}


def as_json(value: Any) -> bytes:
    """The bytes of a JSON file."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def _no_group(tensor: Tensor, size: int, linear: Sequence[Tensor]) -> str:
    fitting = next((n for n in GROUP_SIZES if not any(item.shape[1] % n for item in linear)), None)
    advice = f"`options = {{ group_size = {fitting} }}` would" if fitting else f"none of {GROUP_SIZES} does"
    return f"{tensor.name} has rows of {tensor.shape[1]}, which groups of {size} do not divide; {advice}"
