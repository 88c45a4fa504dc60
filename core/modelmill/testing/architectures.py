"""What the checkpoints of each supported architecture look like: configuration and tensors, without a weight."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelmill.testing.tokenizers import Tokenizer

LINEAR, NORM, SHIFT_NORM, BIAS, EMBEDDING = "linear", "norm", "shift-norm", "bias", "embedding"
"""What a tensor is for, which decides what its random values look like: a shift norm holds its scale less one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a tiny model. No row of its tensors is a multiple of a K-quant's block of 256."""

    hidden: int = 64
    intermediate: int = 160
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_width: int | None = None
    """Elements of one head, where that is not `hidden / heads`."""
    tied: bool | None = None
    """Whether the output shares the embedding's weights; None leaves it as the architecture has it."""

    @property
    def head(self) -> int:
        """Elements of one head."""
        return self.head_width or self.hidden // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One tensor to be made: its name, its shape and what it is for."""

    name: str
    shape: tuple[int, ...]
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture: how it tokenizes, what its config.json says, and which tensors it has."""

    family: str
    class_name: str
    model_type: str
    tied: bool
    config: Callable[[Shape], Mapping[str, Any]]
    layer: Callable[[Shape], Iterator[tuple[str, tuple[int, ...], str]]]
    norm: str = NORM


def _attention(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    yield "self_attn.q_proj.weight", (q, shape.hidden), LINEAR
    yield "self_attn.k_proj.weight", (kv, shape.hidden), LINEAR
    yield "self_attn.v_proj.weight", (kv, shape.hidden), LINEAR
    yield "self_attn.o_proj.weight", (shape.hidden, q), LINEAR


def _gated(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield "mlp.gate_proj.weight", (shape.intermediate, shape.hidden), LINEAR
    yield "mlp.up_proj.weight", (shape.intermediate, shape.hidden), LINEAR
    yield "mlp.down_proj.weight", (shape.hidden, shape.intermediate), LINEAR


def _two_norms(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield "input_layernorm.weight", (shape.hidden,), NORM
    yield "post_attention_layernorm.weight", (shape.hidden,), NORM


def _llama_layer(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield from _attention(shape)
    yield from _gated(shape)
    yield from _two_norms(shape)


def _qwen2_layer(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield from _llama_layer(shape)
    yield "self_attn.q_proj.bias", (shape.heads * shape.head,), BIAS
    yield "self_attn.k_proj.bias", (shape.kv_heads * shape.head,), BIAS
    yield "self_attn.v_proj.bias", (shape.kv_heads * shape.head,), BIAS


def _qwen3_layer(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield from _llama_layer(shape)
    yield "self_attn.q_norm.weight", (shape.head,), NORM
    yield "self_attn.k_norm.weight", (shape.head,), NORM


def _gemma3_layer(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield from _attention(shape)
    yield from _gated(shape)
    for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        yield f"{name}_layernorm.weight", (shape.hidden,), SHIFT_NORM
    yield "self_attn.q_norm.weight", (shape.head,), SHIFT_NORM
    yield "self_attn.k_norm.weight", (shape.head,), SHIFT_NORM


def _phi3_layer(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    yield "self_attn.qkv_proj.weight", (q + 2 * kv, shape.hidden), LINEAR
    yield "self_attn.o_proj.weight", (shape.hidden, q), LINEAR
    yield "mlp.gate_up_proj.weight", (2 * shape.intermediate, shape.hidden), LINEAR
    yield "mlp.down_proj.weight", (shape.hidden, shape.intermediate), LINEAR
    yield from _two_norms(shape)


def _bitnet_layer(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield from _llama_layer(shape)
    yield "self_attn.attn_sub_norm.weight", (shape.heads * shape.head,), NORM
    yield "mlp.ffn_sub_norm.weight", (shape.intermediate,), NORM


def _llama_config(shape: Shape) -> Mapping[str, Any]:
    return {
        "attention_bias": False,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "mlp_bias": False,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }


def _mistral_config(shape: Shape) -> Mapping[str, Any]:
    return {
        "head_dim": shape.head,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "sliding_window": None,
    }


def _qwen2_config(shape: Shape) -> Mapping[str, Any]:
    return {
        "hidden_act": "silu",
        "max_window_layers": shape.layers,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "use_sliding_window": False,
    }


def _qwen3_config(shape: Shape) -> Mapping[str, Any]:
    return {**_qwen2_config(shape), "attention_bias": False, "head_dim": shape.head, "rope_scaling": None}


def _gemma3_config(shape: Shape) -> Mapping[str, Any]:
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


def _phi3_config(_shape: Shape) -> Mapping[str, Any]:
    return {
        "hidden_act": "silu",
        "original_max_position_embeddings": 256,
        "partial_rotary_factor": 1.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "sliding_window": 256,
    }


def _smollm3_config(shape: Shape) -> Mapping[str, Any]:
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


def _bitnet_config(_shape: Shape) -> Mapping[str, Any]:
    return {"hidden_act": "relu2", "rms_norm_eps": 1e-05, "rope_theta": 500000.0}


_TABLE: Mapping[str, Architecture] = {
    model_type: Architecture(
        family=family,
        class_name=class_name,
        model_type="gemma3_text" if model_type == "gemma3" else model_type,
        tied=tied,
        config=config,
        layer=layer,
        norm=SHIFT_NORM if model_type == "gemma3" else NORM,
    )
    for model_type, family, class_name, tied, config, layer in (
        ("llama", "smollm", "LlamaForCausalLM", True, _llama_config, _llama_layer),
        ("mistral", "llama-2", "MistralForCausalLM", False, _mistral_config, _llama_layer),
        ("qwen2", "qwen2", "Qwen2ForCausalLM", True, _qwen2_config, _qwen2_layer),
        ("qwen3", "qwen2", "Qwen3ForCausalLM", True, _qwen3_config, _qwen3_layer),
        ("gemma3", "gemma", "Gemma3ForCausalLM", True, _gemma3_config, _gemma3_layer),
        ("phi3", "phi-3", "Phi3ForCausalLM", False, _phi3_config, _phi3_layer),
        ("smollm3", "llama-3", "SmolLM3ForCausalLM", True, _smollm3_config, _llama_layer),
        ("bitnet", "llama-3", "BitNetForCausalLM", True, _bitnet_config, _bitnet_layer),
    )
}

ARCHITECTURES: tuple[str, ...] = tuple(_TABLE)
"""The architectures that `make_checkpoint` can make."""


def architecture(name: str) -> Architecture:
    """Look an architecture up by name; raise ValueError with the names that there are."""
    if name not in _TABLE:
        raise ValueError(f"{name!r} is not one of the architectures {', '.join(ARCHITECTURES)}")
    return _TABLE[name]


def vocabulary_size(tokenizer: Tokenizer, made: Architecture) -> int:
    """Rows of the embedding: more than there are tokens for the families whose checkpoints are padded so."""
    return -(-tokenizer.size // 64) * 64 if made.family in {"qwen2", "phi-3"} else tokenizer.size


def configuration(made: Architecture, shape: Shape, tokenizer: Tokenizer, dtype: str) -> dict[str, Any]:
    """The content of config.json, with the names that published checkpoints of the architecture use."""
    return {
        "architectures": [made.class_name],
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.eos,
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": 256,
        "model_type": made.model_type,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": tokenizer.pad,
        "tie_word_embeddings": made.tied if shape.tied is None else shape.tied,
        "torch_dtype": {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[dtype],
        "use_cache": True,
        "vocab_size": vocabulary_size(tokenizer, made),
        **made.config(shape),
    }


def weights(made: Architecture, shape: Shape, rows: int, *, tied: bool) -> Iterator[Weight]:
    """Every tensor of the checkpoint, in the order of its names in the architecture."""
    yield Weight(name="model.embed_tokens.weight", shape=(rows, shape.hidden), role=EMBEDDING)
    for layer in range(shape.layers):
        for name, size, role in made.layer(shape):
            yield Weight(name=f"model.layers.{layer}.{name}", shape=size, role=role)
    yield Weight(name="model.norm.weight", shape=(shape.hidden,), role=made.norm)
    if not tied:
        yield Weight(name="lm_head.weight", shape=(rows, shape.hidden), role=EMBEDDING)
