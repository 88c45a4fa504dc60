"""qwen3: Qwen 3 (dense): norms on queries and keys, and a head size of its own."""

from modelmill_gguf.architectures import common, refusals, rope
from modelmill_gguf.architectures.table import EMBEDDINGS, Architecture, attention, gated_mlp, layer, norms
from modelmill_gguf.hyperparameters import Hyperparameters


def refuse(model: Hyperparameters) -> str | None:
    """Another activation, a window that its upper layers use, and another rotary embedding."""
    return (
        refusals.activation("qwen3", model, refusals.SILU)
        or refusals.window("qwen3", model, refusals.upper_layers(model))
        or rope.refuse("qwen3", model, "linear", "yarn")
    )


QWEN3 = Architecture(
    name="qwen3",
    classes=("Qwen3ForCausalLM",),
    rules=(
        *EMBEDDINGS,
        *norms(),
        *attention(),
        *layer("self_attn.q_norm", "attn_q_norm", "head"),
        *layer("self_attn.k_norm", "attn_k_norm", "head"),
        *gated_mlp(),
    ),
    fields=lambda model: [
        *common.sizes("qwen3", model),
        *rope.fields("qwen3", model),
        *common.head_lengths("qwen3", model),
    ],
    defaults={
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "head_dim": 128,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    refuse=refuse,
)
