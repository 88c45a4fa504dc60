"""qwen2: Qwen 1.5, 2 and 2.5 (dense)."""

from modelmill_gguf.architectures import common, refusals, rope
from modelmill_gguf.architectures.table import EMBEDDINGS, Architecture, attention, gated_mlp, norms
from modelmill_gguf.hyperparameters import Hyperparameters


def refuse(model: Hyperparameters) -> str | None:
    """Another activation, a window that its upper layers use, and another rotary embedding."""
    return (
        refusals.activation("qwen2", model, refusals.SILU)
        or refusals.window("qwen2", model, refusals.upper_layers(model))
        or rope.refuse("qwen2", model, "linear", "yarn")
    )


QWEN2 = Architecture(
    name="qwen2",
    classes=("Qwen2ForCausalLM",),
    rules=(*EMBEDDINGS, *norms(), *attention(), *gated_mlp()),
    fields=lambda model: [
        *common.sizes("qwen2", model),
        *rope.fields("qwen2", model),
        *common.stated_head_lengths("qwen2", model),
    ],
    defaults={
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    refuse=refuse,
)
