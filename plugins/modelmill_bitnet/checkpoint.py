"""What a BitNet checkpoint says of itself: whether it is one, and in which form it holds its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError, Facts
from modelmill.checkpoint import BITNET_CLASSES

_LINEAR_CLASSES = ("bitlinear", "autobitlinear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How the ternary layers are stored: `packed`, or as floats; whether a stored scale divides.

    Floats are master weights, which BitNet's rule makes ternary, or ternary already (`plain`): -s, 0 and s, of a
    model whose layers multiply with them as they are.
    """

    packed: bool
    divides: bool = False
    plain: bool = False


def form_of(facts: Facts) -> Form:
    """The form of a BitNet checkpoint. ConvertError where it is none, or quantized in another way."""
    if facts.architecture not in BITNET_CLASSES:
        raise ConvertError(
            f"config.json names {facts.architecture or 'no architecture'}, and {BITNET_CLASSES[0]} is wanted; a "
            'ternary model of another class becomes format = "gguf" with scheme TQ1_0 or TQ2_0'
        )
    return _form(facts, plain=False)


def form_of_other(facts: Facts) -> Form:
    """The form of a checkpoint of another class than BitNet's. ConvertError where it is BitNet's, or quantized."""
    if facts.architecture in BITNET_CLASSES:
        raise ConvertError(f"config.json names {facts.architecture}, whose inner norms are BitNet's own")
    return _form(facts, plain=True)


def _form(facts: Facts, *, plain: bool) -> Form:
    entry = facts.config.get("quantization_config")
    if entry is None:
        return Form(packed=False, plain=plain)
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
