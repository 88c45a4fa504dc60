"""What a BitNet checkpoint says of itself: whether it is one, and in which form it holds its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError, Facts

CLASSES = ("BitNetForCausalLM", "BitnetForCausalLM")
"""transformers' class, and the one of 1bitLLM's first checkpoints."""
_LINEAR_CLASSES = ("bitlinear", "autobitlinear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How the ternary layers are stored: `packed` or as master weights; whether a stored scale divides."""

    packed: bool
    divides: bool = False


def form_of(facts: Facts) -> Form:
    """The form of a checkpoint. ConvertError where it is not BitNet, or quantized in another way."""
    if facts.architecture not in CLASSES:
        raise ConvertError(_not_ternary(facts))
    entry = facts.config.get("quantization_config")
    if entry is None:
        return Form(packed=False)
    if not isinstance(entry, Mapping) or entry.get("quant_method") != "bitnet":
        method = entry.get("quant_method") if isinstance(entry, Mapping) else entry
        raise ConvertError(
            f"config.json: the quant_method is {method!r}; a BitNet checkpoint has 'bitnet' or none at all"
        )
    return _packed_form(entry, facts)


def _packed_form(entry: Mapping[str, Any], facts: Facts) -> Form:
    linear = entry.get("linear_class", "bitlinear")
    if linear not in _LINEAR_CLASSES:
        raise ConvertError(
            f"config.json: linear_class is {linear!r}; whether the scales multiply or divide is known for "
            f"{' and '.join(_LINEAR_CLASSES)}"
        )
    if entry.get("use_rms_norm"):
        raise ConvertError("config.json: use_rms_norm puts a norm before every layer, which no GGUF runtime computes")
    packed = any(tensor.dtype == "U8" for tensor in facts.tensors)
    if not packed and linear == "bitlinear":
        raise ConvertError("config.json: linear_class is 'bitlinear', whose weights are packed, and no tensor is U8")
    return Form(packed=packed, divides=linear == "bitlinear")


def _not_ternary(facts: Facts) -> str:
    name = facts.architecture or "no architecture"
    if isinstance(entry := facts.config.get("quantization_config"), Mapping) and entry.get("quant_method") == "bitnet":
        return (
            f"config.json names {name} with BitNet's quantization; llama.cpp computes ternary layers only in "
            f"{CLASSES[0]}, whose inner norms this model lacks"
        )
    return (
        f"config.json names {name}, which was not trained ternary: cutting its weights to -1, 0 and 1 would leave "
        "nonsense; use Q4_K_M, or Q2_K where it must be small"
    )
