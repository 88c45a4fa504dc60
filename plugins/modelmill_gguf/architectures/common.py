"""The metadata that most architectures share. Source: llama.cpp's conversion/base.py and docs/gguf.md."""

from modelmill_gguf.fields import Field, float32, uint32
from modelmill_gguf.hyperparameters import Hyperparameters


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
