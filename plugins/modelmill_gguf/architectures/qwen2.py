"""qwen2: Qwen 1.5, 2 and 2.5 (dense)."""

from modelmill_gguf.architectures import common
from modelmill_gguf.architectures.table import EMBEDDINGS, Architecture, attention, gated_mlp, norms

QWEN2 = Architecture(
    name="qwen2",
    classes=("Qwen2ForCausalLM",),
    rules=(*EMBEDDINGS, *norms(), *attention(), *gated_mlp()),
    fields=lambda model: [
        *common.sizes("qwen2", model),
        *common.rope("qwen2", model),
        *common.stated_head_lengths("qwen2", model),
    ],
    defaults={"max_position_embeddings": 32_768, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0},
)
