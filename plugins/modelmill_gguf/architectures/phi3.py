"""phi3: Phi-3, Phi-3.5 and Phi-4-mini: joined projections, and factors for long contexts."""

from math import log, sqrt

from modelmill import ConvertError
from modelmill_gguf.architectures import common, refusals
from modelmill_gguf.architectures.table import EMBEDDINGS, Architecture, Extra, layer, norms
from modelmill_gguf.fields import Field, float32, uint32
from modelmill_gguf.hyperparameters import Hyperparameters, count, number

_STRETCHED = ("longrope", "su", "yarn")  # three names of one method


def _rotated(model: Hyperparameters) -> int:
    share = number(
        model.rope.get("partial_rotary_factor", model.config.get("partial_rotary_factor", 1.0)), "partial_rotary_factor"
    )
    if not 0 < share <= 1:
        raise ConvertError(f"config.json: partial_rotary_factor must be above 0 and at most 1, and is {share:g}.")
    return int(share * model.width) // model.heads


def _is_stretched(model: Hyperparameters) -> bool:
    return model.rope.get("rope_type") in _STRETCHED


def phi3_fields(model: Hyperparameters) -> list[Field]:
    """The common metadata; a window of zero tells llama.cpp that there is none."""
    window = count(model.config, "sliding_window") if model.config.get("sliding_window") else 0
    fields = [
        *common.sizes("phi3", model),
        uint32("phi3.rope.scaling.original_context_length", model.original_context),
        uint32("phi3.rope.dimension_count", _rotated(model)),
        float32("phi3.rope.freq_base", model.rope_base),
        uint32("phi3.attention.sliding_window", window),
    ]
    if _is_stretched(model):
        fields.append(float32("phi3.rope.scaling.attn_factor", _attention_factor(model)))
    return fields


def _attention_factor(model: Hyperparameters) -> float:
    """Source: transformers' `_compute_longrope_parameters`."""
    stated = model.rope.get("attention_factor")
    if stated is not None:
        return number(stated, "attention_factor")
    original, factor = model.original_context, model.rope.get("factor")
    scale = model.context / original if factor is None else number(factor, "factor of rope_scaling")
    return 1.0 if scale <= 1 or original == 1 else sqrt(1 + log(scale) / log(original))


def long_factors(model: Hyperparameters) -> tuple[Extra, ...]:
    """The factors of the rotary embedding below and above the original context."""
    if not _is_stretched(model):
        return ()
    found = []
    for name in ("long", "short"):
        values = model.rope.get(f"{name}_factor")
        if not isinstance(values, list) or len(values) * 2 != _rotated(model):
            raise ConvertError(f"config.json: {name}_factor of rope_scaling must list {_rotated(model) // 2} numbers.")
        factors = tuple(number(value, f"{name}_factor") for value in values)
        found.append(Extra(name=f"rope_factors_{name}.weight", values=factors))
    return tuple(found)


def refuse(model: Hyperparameters) -> str | None:
    """Other stretchings of the rotary embedding than Phi-3's own, and another activation."""
    kind = model.rope.get("rope_type", "default")
    if kind not in ("default", *_STRETCHED):
        return f"the rope scaling {kind!r} has no counterpart in llama.cpp's phi3; default and longrope have"
    return refusals.activation("phi3", model, refusals.SILU)


PHI3 = Architecture(
    name="phi3",
    classes=("Phi3ForCausalLM",),
    rules=(
        *EMBEDDINGS,
        *norms(),
        *layer("self_attn.qkv_proj", "attn_qkv", "query key value", "width"),
        *layer("self_attn.o_proj", "attn_output", "width", "query"),
        *layer("mlp.gate_up_proj", "ffn_up", "twice inner", "width"),
        *layer("mlp.down_proj", "ffn_down", "width", "inner"),
    ),
    fields=phi3_fields,
    defaults={
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
    },
    extras=long_factors,
    refuse=refuse,
    tell=lambda model: refusals.told_window("phi3", model),
    stated_tokens=True,
)
