"""gemma3: Gemma 3's text model: norms around each half of a layer, and five layers with a window to one without."""

from math import isclose

from modelmill_gguf.architectures import common, refusals, rope
from modelmill_gguf.architectures.table import (
    EMBEDDINGS,
    Architecture,
    Change,
    Rule,
    attention,
    gated_mlp,
    layer,
)
from modelmill_gguf.fields import Field, float32, uint32
from modelmill_gguf.hyperparameters import Hyperparameters, count, number

_PATTERN = 6  # fixed in llama.cpp: every sixth layer attends to everything
_LAYERS_OF_27B = 62  # by which llama.cpp knows the one model whose scores are not scaled by the size of a head


def _norm(source: str, name: str, shape: str = "width") -> tuple[Rule, ...]:
    return layer(source, name, shape, change=Change.PLUS_ONE)


def gemma3_fields(model: Hyperparameters) -> list[Field]:
    """The common metadata, the window, and the soft cap where there is one."""
    fields = [
        *common.sizes("gemma3", model),
        *rope.fields("gemma3", model),
        *common.head_lengths("gemma3", model),
        uint32("gemma3.attention.sliding_window", count(model.config, "sliding_window")),
    ]
    if cap := model.config.get("final_logit_softcapping"):
        fields.append(float32("gemma3.final_logit_softcapping", number(cap, "final_logit_softcapping")))
    return fields


def refuse(model: Hyperparameters) -> str | None:
    """What llama.cpp's gemma3 cannot express."""
    if model.config.get("attn_logit_softcapping"):
        return "llama.cpp's gemma3 has no soft cap on attention"
    if model.config.get("use_bidirectional_attention"):
        return "llama.cpp's gemma3 attends only to what came before"
    kinds = model.config.get("layer_types") or _kinds(model, count(model.config, "sliding_window_pattern"))
    if kinds != _kinds(model, _PATTERN):
        return "llama.cpp's gemma3 has full attention in every sixth layer only"
    scalar = number(model.config["query_pre_attn_scalar"], "query_pre_attn_scalar")
    computed = model.width // model.heads if model.layers == _LAYERS_OF_27B else model.head
    if not isclose(scalar, computed):
        return (
            f"config.json says query_pre_attn_scalar = {scalar:g}, and llama.cpp's gemma3 scales the scores of such a "
            f"model by {computed}"
        )
    local = (model.config.get("rope_parameters") or {}).get(refusals.SLIDING, {})
    if local.get("rope_type", "default") != "default":
        return "llama.cpp's gemma3 stretches the rotary embedding only in layers without a window"
    return refusals.activation("gemma3", model, refusals.GELU_TANH, "hidden_activation") or rope.refuse(
        "gemma3", model, "linear", "yarn", only_usual=True
    )


def _kinds(model: Hyperparameters, pattern: int) -> list[str]:
    return [refusals.SLIDING if (at + 1) % pattern else refusals.FULL for at in range(model.layers)]


GEMMA3 = Architecture(
    name="gemma3",
    classes=("Gemma3ForCausalLM",),
    rules=(
        EMBEDDINGS[0],
        Rule(source="model.norm.weight", name="output_norm.weight", shape=("width",), change=Change.PLUS_ONE),
        EMBEDDINGS[2],
        *_norm("input_layernorm", "attn_norm"),
        *_norm("post_attention_layernorm", "post_attention_norm"),
        *_norm("pre_feedforward_layernorm", "ffn_norm"),
        *_norm("post_feedforward_layernorm", "post_ffw_norm"),
        *_norm("self_attn.q_norm", "attn_q_norm", "head"),
        *_norm("self_attn.k_norm", "attn_k_norm", "head"),
        *attention(),
        *gated_mlp(),
    ),
    fields=gemma3_fields,
    defaults={
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-6,
        "head_dim": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262_208,
        "sliding_window": 4096,
        "sliding_window_pattern": _PATTERN,
        "query_pre_attn_scalar": 256,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
    },
    refuse=refuse,
    tied_by_default=True,
    drops=("<image_soft_token>",),
)
