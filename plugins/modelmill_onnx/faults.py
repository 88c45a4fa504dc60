"""Why a checkpoint becomes no ONNX graph of a causal language model, known from its facts."""

from collections.abc import Mapping
from typing import Any, Final

from modelmill import Facts
from modelmill_onnx.architectures import BUILDABLE
from modelmill_onnx.whole import layer_fault

_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model")
_HEAD_STEP: Final = 16
_NUMBERS: Final = ("hidden_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers")
_DERIVED: Final = ("head_dim", "num_key_value_heads")
"""What follows from other numbers where config.json says null."""
_USUAL_ROPES: Final = ("default", "linear")
_LLAMA_ROPES: Final = (*_USUAL_ROPES, "llama3")
_ROPES: Final[Mapping[str, tuple[str, ...]]] = {
    "HunYuanDenseV1ForCausalLM": ("default", "dynamic"),
    "LlamaForCausalLM": _LLAMA_ROPES,
    "NemotronForCausalLM": _LLAMA_ROPES,
    "Phi3ForCausalLM": ("default", "longrope", "su"),
    "SmolLM3ForCausalLM": _LLAMA_ROPES,
}
"""Kinds of rotary embeddings that come out as transformers has them. The builder's yarn does not round its range."""
_PARTLY_ROTATED: Final = 0.5


def checkpoint_fault(facts: Facts) -> str | None:
    """What keeps the model builder from a checkpoint, in one sentence; None for nothing."""
    if facts.architecture not in BUILDABLE:
        return (
            "onnxruntime-genai's model builder makes no causal language model of a "
            f"{facts.architecture or 'model of no named architecture'}; it makes one of {', '.join(BUILDABLE)}"
        )
    if not any(name in facts.files for name in _TOKENIZERS):
        return (
            "the checkpoint has no tokenizer.json and no tokenizer.model, without which ONNX Runtime GenAI does not "
            "load a model; add the tokenizer's files to the source"
        )
    reason = _number_fault(facts.config) or _layer_fault(facts)
    if reason:
        return reason
    if head := head_size(facts) % _HEAD_STEP:
        return (
            f"the model's heads have {head} values more than a multiple of {_HEAD_STEP}, and ONNX Runtime's "
            "GroupQueryAttention takes only multiples; use the format gguf for this checkpoint"
        )
    rope = facts.config.get("rope_scaling") or facts.config.get("rope_parameters") or {}
    if rotated := int(head_size(facts) * _rotated_share(facts, rope)) % _HEAD_STEP:
        return (
            f"the model rotates {rotated} values of a head more than a multiple of {_HEAD_STEP}, and ONNX Runtime's "
            "GroupQueryAttention takes only multiples; use the format gguf for this checkpoint"
        )
    if facts.config.get("clip_qkv") is not None:
        return "the model clips its queries, keys and values (clip_qkv), and the model builder leaves that out"
    if facts.architecture == "Gemma3ForCausalLM" and "linear" in str(rope):
        return (
            "the model builder scales the local rotary embedding of Gemma3ForCausalLM along with the global one, "
            "which gives wrong logits; use the format gguf for this checkpoint"
        )
    return _rope_fault(facts.architecture, rope.get("full_attention", rope))


def _number_fault(config: Mapping[str, Any]) -> str | None:
    for key in (*_NUMBERS, *_DERIVED):
        if key not in config or (config[key] is None and key in _DERIVED):
            continue
        if type(config[key]) is not int or config[key] < 1:
            return f"config.json: {key} is {config[key]!r}, not a whole number above 0"
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        if not isinstance(rope, Mapping):
            return f"config.json: {key} is {rope!r}, not a table"
        nested = rope.get("full_attention", {})
        if not isinstance(nested, Mapping):
            return f"config.json: full_attention in {key} is {nested!r}, not a table"
    return None


def _layer_fault(facts: Facts) -> str | None:
    layers = facts.config.get("num_hidden_layers")
    return None if layers is None else layer_fault(facts.tensors, layers)


def _rope_fault(architecture: str, rope: Mapping[str, Any]) -> str | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    known = _ROPES.get(architecture, _USUAL_ROPES)
    if kind in known:
        return None
    return (
        f"the model builder does not compute the rotary embedding {kind!r} of a {architecture} as transformers does, "
        f"which gives wrong logits; it computes {', '.join(known)}"
    )


def _rotated_share(facts: Facts, rope: Mapping[str, Any]) -> float:
    """The share of a head that the rotary embedding turns; the two classes have a default of their own."""
    own = _PARTLY_ROTATED if facts.architecture in ("NemotronForCausalLM", "PhiForCausalLM") else 1
    share: float = facts.config.get("partial_rotary_factor") or rope.get("partial_rotary_factor") or own
    return share


def head_size(facts: Facts) -> int:
    """How many values a head has."""
    size: int = facts.config.get("head_dim") or (
        facts.config.get("hidden_size", 0) // facts.config.get("num_attention_heads", 1)
    )
    return size
