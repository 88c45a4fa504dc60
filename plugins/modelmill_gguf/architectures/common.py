"""The metadata that most architectures share. Source: llama.cpp's conversion/base.py and docs/gguf.md."""

from modelmill import ConvertError
from modelmill_gguf.fields import Field, float32, string, uint32
from modelmill_gguf.hyperparameters import Hyperparameters, number


def sizes(name: str, model: Hyperparameters) -> list[Field]:
    """Counts and lengths."""
    return [
        uint32(f"{name}.block_count", model.layers),
        uint32(f"{name}.context_length", model.context),
        uint32(f"{name}.embedding_length", model.width),
        uint32(f"{name}.feed_forward_length", model.inner),
        uint32(f"{name}.attention.head_count", model.heads),
        uint32(f"{name}.attention.head_count_kv", model.key_heads),
        float32(f"{name}.attention.layer_norm_rms_epsilon", model.norm_epsilon),
    ]


def stated_head_lengths(name: str, model: Hyperparameters) -> list[Field]:
    """The size of a head, where the configuration states one that need not follow from the others."""
    return head_lengths(name, model) if "head_dim" in model.config else []


def head_lengths(name: str, model: Hyperparameters) -> list[Field]:
    """The size of a head."""
    return [
        uint32(f"{name}.attention.key_length", model.head),
        uint32(f"{name}.attention.value_length", model.head),
    ]


def rope(name: str, model: Hyperparameters) -> list[Field]:
    """The rotary embedding: its base, and its scaling where llama.cpp has it as metadata."""
    fields = [float32(f"{name}.rope.freq_base", model.rope_base)]
    if model.local_rope_base is not None:
        fields.append(float32(f"{name}.rope.freq_base_swa", model.local_rope_base))
    return fields + _scaling(f"{name}.rope.scaling", model)


def _scaling(name: str, model: Hyperparameters) -> list[Field]:
    kind = model.rope.get("rope_type")
    if kind in (None, "default", "llama3"):  # llama3 becomes a tensor of factors
        return []
    if kind in ("longrope", "su"):
        return [string(f"{name}.type", "longrope")]
    if kind not in ("linear", "yarn"):
        raise ConvertError(
            f"config.json: the rope scaling {kind!r} has no counterpart in llama.cpp; "
            "default, linear, yarn, llama3 and longrope have."
        )
    factor = number(model.rope.get("factor"), "factor of rope_scaling")
    fields = [string(f"{name}.type", kind), float32(f"{name}.factor", factor)]
    return fields if kind == "linear" else fields + _yarn(name, model)


def _yarn(name: str, model: Hyperparameters) -> list[Field]:
    rope = model.rope
    original = rope.get("original_max_position_embeddings", model.config.get("original_max_position_embeddings"))
    fields = [uint32(f"{name}.original_context_length", int(number(original, "original_max_position_embeddings")))]
    optional = {
        "yarn_ext_factor": rope.get("extrapolation_factor"),
        "yarn_attn_factor": rope.get("attention_factor", rope.get("attn_factor")),
        "yarn_beta_fast": rope.get("beta_fast"),
        "yarn_beta_slow": rope.get("beta_slow"),
    }
    for key, value in optional.items():
        if value is not None:
            fields.append(float32(f"{name}.{key}", number(value, key)))
    return fields
