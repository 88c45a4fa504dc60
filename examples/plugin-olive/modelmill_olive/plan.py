"""What comes of a workflow, and what that takes: this runs when a build is planned, and loads no tool."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError, Estimate, Facts, Job, Outlook, Refusal
from modelmill.checkpoint import tensor_bytes

PRECISIONS: Mapping[str, str] = {"fp32": "fp32", "int4-builder": "int4"}
"""The schemes of the format `onnx`, and what ModelBuilder calls them."""
BITS = {"fp32": 32, "int4-builder": 5}
"""Bits of a linear layer's weight; of int4 with the scales of its blocks of 32."""
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Phi3ForCausalLM": "phi3",
}
"""What ONNX Runtime GenAI calls the decoders of its model builder of 0.14 offered here; Llama was built whole."""
READS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.*",
)
_TOOLS_MEMORY = 1 << 30
"""Bytes that torch, transformers and Olive take before the model."""


@dataclass(frozen=True)
class Options:
    """Nothing: what to do is the workflow's."""


def run(job: Job[Options]) -> None:
    """Run the workflow, in the tool environment that the engine made."""
    from modelmill_olive.run import run

    run(job)


def infer(outlook: Outlook[Options]) -> Facts | Refusal:
    """What comes out, or why nothing can."""
    facts = outlook.facts
    architecture = ARCHITECTURES.get(facts.architecture or "")
    if architecture is None:
        return Refusal(reason=f"{facts.architecture} is not offered through Olive; there is {', '.join(ARCHITECTURES)}")
    if "quantization_config" in facts.config:
        return Refusal(reason="the checkpoint is quantized already; start from the one that it was made of")
    if facts.details.get("tokenizer") is None:
        return Refusal(reason="the checkpoint has no tokenizer, which ONNX Runtime GenAI needs")
    given = outlook.inputs.get("workflow")
    made = scheme_of(given.config) if given else outlook.scheme or "int4-builder"
    if made is None or (outlook.scheme or made) != made:
        return Refusal(reason=f"the workflow's ModelBuilder makes {made or 'no scheme of ours'}, not {outlook.scheme}")
    return Facts(
        format="onnx",
        scheme=made,
        architecture=architecture,
        config=facts.config,
        quantization=made if made.startswith("int") else facts.quantization,
        licence=facts.licence,
        details={**facts.details, "genai": True},
    )


def estimate(outlook: Outlook[Options], inferred: Facts) -> Estimate:
    """What it takes: the model in float32 beside the result, and half a minute for the tools to start."""
    tensors, config = outlook.facts.tensors, outlook.facts.config
    bits = BITS[inferred.scheme or "fp32"]
    embedding = sum(math.prod(tensor.shape) for tensor in tensors if "embed_tokens" in tensor.name)
    linear = sum(math.prod(tensor.shape) for tensor in tensors if len(tensor.shape) > 1) - embedding
    if not any(tensor.name == "lm_head.weight" for tensor in tensors):
        linear += embedding  # the builder stores a tied output once more
    others = sum(math.prod(tensor.shape) for tensor in tensors if len(tensor.shape) == 1)
    rotary = config.get("max_position_embeddings", 0) * _head(config)  # a sine and a cosine for every other element
    files = sum(size for path, size in outlook.facts.files.items() if not path.endswith(".safetensors"))
    size = 4 * (embedding + others + rotary) + linear * bits // 8 + files
    weights = sum(map(tensor_bytes, tensors))
    return Estimate(bytes_out=size, peak_memory=_TOOLS_MEMORY + 3 * weights, seconds=30 + weights / 2e7)


def _head(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def scheme_of(workflow: Mapping[str, Any]) -> str | None:
    """The scheme that a checked workflow makes; None for a precision that the format has no word for."""
    precision = next(iter(workflow["passes"].values()))["precision"]
    return next((scheme for scheme, name in PRECISIONS.items() if name == precision), None)


def workflow_for(scheme: str) -> dict[str, Any]:
    """The workflow where none is given."""
    if scheme not in PRECISIONS:
        raise ConvertError(f"Olive makes no {scheme!r}")
    return {"passes": {"builder": {"type": "ModelBuilder", "precision": PRECISIONS[scheme]}}}
