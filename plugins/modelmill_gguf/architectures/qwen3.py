"""qwen3: Qwen 3 (dense): norms on queries and keys, and a head size of its own."""

from modelmill_gguf.architectures import common
from modelmill_gguf.architectures.table import EMBEDDINGS, Architecture, attention, gated_mlp, layer, norms

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
        *common.rope("qwen3", model),
        *common.head_lengths("qwen3", model),
    ],
    defaults={"max_position_embeddings": 32_768, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "head_dim": 128},
)
