"""What the checkpoints of each supported architecture look like: configuration and tensors, without a weight."""

from collections.abc import Iterator, Mapping
from typing import Any

from modelmill.testing import configurations as of
from modelmill.testing import layers
from modelmill.testing.shapes import BIAS, EMBEDDING, LINEAR, NORM, SHIFT_NORM, Architecture, Shape, Weight
from modelmill.testing.tokenizers import Tokenizer

__all__ = ["ARCHITECTURES", "LINEAR", "Shape", "Weight", "architecture", "configuration", "vocabulary_size", "weights"]

_NORM = (("norm.weight", NORM),)
_SHIFT = (("norm.weight", SHIFT_NORM),)
_BIASED = (("norm.weight", NORM), ("norm.bias", BIAS))
_ONE_LESS = (("norm.weight", SHIFT_NORM), ("norm.bias", BIAS))
_FINAL = (("final_layernorm.weight", NORM), ("final_layernorm.bias", BIAS))
"""What is behind the last layer."""

_TABLE: Mapping[str, Architecture] = {
    name: Architecture(
        family=family,
        class_name=f"{kind}ForCausalLM",
        model_type="gemma3_text" if name == "gemma3" else name,
        tied=tied,
        config=config,
        layer=layer,
        ends=ends,
        has_head_bias=name == "phi",
    )
    for name, family, kind, tied, config, layer, ends in (
        ("llama", "smollm", "Llama", True, of.llama_config, layers.llama_layer, _NORM),
        ("mistral", "llama-2", "Mistral", False, of.mistral_config, layers.llama_layer, _NORM),
        ("qwen2", "qwen2", "Qwen2", True, of.qwen2_config, layers.qwen2_layer, _NORM),
        ("qwen3", "qwen2", "Qwen3", True, of.qwen3_config, layers.qwen3_layer, _NORM),
        ("gemma3", "gemma", "Gemma3", True, of.gemma3_config, layers.gemma3_layer, _SHIFT),
        ("phi3", "phi-3", "Phi3", False, of.phi3_config, layers.phi3_layer, _NORM),
        ("smollm3", "llama-3", "SmolLM3", True, of.smollm3_config, layers.llama_layer, _NORM),
        ("bitnet", "llama-3", "BitNet", True, of.bitnet_config, layers.bitnet_layer, _NORM),
        ("gemma", "gemma", "Gemma", True, of.gemma_config, layers.gemma_layer, _SHIFT),
        ("gemma2", "gemma", "Gemma2", True, of.gemma2_config, layers.gemma2_layer, _SHIFT),
        ("granite", "smollm", "Granite", True, of.granite_config, layers.llama_layer, _NORM),
        ("olmo", "smollm", "Olmo", False, of.olmo_config, layers.olmo_layer, ()),
        ("olmo2", "smollm", "Olmo2", False, of.olmo2_config, layers.olmo2_layer, _NORM),
        ("ernie4_5", "llama-2", "Ernie4_5", True, of.ernie_config, layers.llama_layer, _NORM),
        ("hunyuan_v1_dense", "qwen2", "HunYuanDenseV1", True, of.hunyuan_config, layers.hunyuan_layer, _NORM),
        ("nemotron", "smollm", "Nemotron", False, of.nemotron_config, layers.nemotron_layer, _ONE_LESS),
        ("phi", "smollm", "Phi", False, of.phi_config, layers.phi_layer, _FINAL),
        ("starcoder2", "smollm", "Starcoder2", True, of.starcoder2_config, layers.starcoder2_layer, _BIASED),
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
    for name, role in made.ends:
        yield Weight(name=f"model.{name}", shape=(shape.hidden,), role=role)
    if not tied:
        yield Weight(name="lm_head.weight", shape=(rows, shape.hidden), role=EMBEDDING)
    if made.has_head_bias:
        yield Weight(name="lm_head.bias", shape=(rows,), role=BIAS)
