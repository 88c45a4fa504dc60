"""What config.json says of each architecture beside what it says of all of them."""

from collections.abc import Mapping
from typing import Any

from modelmill.testing.shapes import Shape


def llama_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of llama beside what it says of all."""
    return {
        "attention_bias": False,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "mlp_bias": False,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }


def mistral_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of mistral beside what it says of all."""
    return {
        "head_dim": shape.head,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "sliding_window": None,
    }


def qwen2_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of qwen2 beside what it says of all."""
    return {
        "hidden_act": "silu",
        "max_window_layers": shape.layers,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "use_sliding_window": False,
    }


def qwen3_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of qwen3 beside what it says of all."""
    return {**qwen2_config(shape), "attention_bias": False, "head_dim": shape.head, "rope_scaling": None}


def gemma3_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of gemma3 beside what it says of all."""
    kinds = ["full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(shape.layers)]
    return {
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "head_dim": shape.head,
        "hidden_activation": "gelu_pytorch_tanh",
        "layer_types": kinds,
        "query_pre_attn_scalar": shape.head,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 32,
    }


def phi3_config(_shape: Shape) -> Mapping[str, Any]:
    """What config.json says of phi3 beside what it says of all."""
    return {
        "hidden_act": "silu",
        "original_max_position_embeddings": 256,
        "partial_rotary_factor": 1.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "sliding_window": 256,
    }


def smollm3_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of smollm3 beside what it says of all."""
    return {
        "attention_bias": False,
        "hidden_act": "silu",
        "layer_types": ["full_attention"] * shape.layers,
        "mlp_bias": False,
        "no_rope_layer_interval": 4,
        "no_rope_layers": [int((layer + 1) % 4 != 0) for layer in range(shape.layers)],
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 5000000.0,
        "sliding_window": None,
        "use_sliding_window": False,
    }


def bitnet_config(_shape: Shape) -> Mapping[str, Any]:
    """What config.json says of bitnet beside what it says of all."""
    return {"hidden_act": "relu2", "rms_norm_eps": 1e-05, "rope_theta": 500000.0}


def gemma_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of gemma beside what it says of all."""
    return {
        "attention_bias": False,
        "head_dim": shape.head,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": None,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
    }


def gemma2_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of gemma2 beside what it says of all."""
    return {
        "attention_bias": False,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "head_dim": shape.head,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": shape.head,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 32,
    }


def granite_config(_shape: Shape) -> Mapping[str, Any]:
    """What config.json says of granite beside what it says of all."""
    return {
        "attention_bias": False,
        "attention_multiplier": 0.125,
        "embedding_multiplier": 12.0,
        "hidden_act": "silu",
        "logits_scaling": 8.0,
        "mlp_bias": False,
        "residual_multiplier": 0.22,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }


def olmo_config(_shape: Shape) -> Mapping[str, Any]:
    """What config.json says of olmo beside what it says of all."""
    return {
        "attention_bias": False,
        "clip_qkv": None,
        "hidden_act": "silu",
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }


def olmo2_config(_shape: Shape) -> Mapping[str, Any]:
    """What config.json says of olmo2 beside what it says of all."""
    return {
        "attention_bias": False,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 500000.0,
    }


def ernie_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of ernie beside what it says of all."""
    return {
        "head_dim": shape.head,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 500000.0,
        "use_bias": False,
    }


def hunyuan_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of hunyuan beside what it says of all."""
    return {
        "attention_bias": False,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }


def nemotron_config(shape: Shape) -> Mapping[str, Any]:
    """What config.json says of nemotron beside what it says of all."""
    return {
        "attention_bias": False,
        "head_dim": shape.head,
        "hidden_act": "relu2",
        "mlp_bias": False,
        "norm_eps": 1e-05,
        "partial_rotary_factor": 0.5,
        "rope_theta": 10000.0,
    }


def phi_config(_shape: Shape) -> Mapping[str, Any]:
    """What config.json says of phi beside what it says of all."""
    return {
        "embd_pdrop": 0.0,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-05,
        "partial_rotary_factor": 0.5,
        "qk_layernorm": False,
        "resid_pdrop": 0.0,
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }


def starcoder2_config(_shape: Shape) -> Mapping[str, Any]:
    """What config.json says of starcoder2 beside what it says of all."""
    return {
        "embedding_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "mlp_type": "default",
        "norm_epsilon": 1e-05,
        "norm_type": "layer_norm",
        "residual_dropout": 0.0,
        "rope_theta": 100000.0,
        "sliding_window": None,
        "use_bias": True,
    }
