"""The tensors of one layer of each architecture: their names, their shapes, and what they are for."""

from collections.abc import Iterator, Mapping

from modelmill.testing.shapes import BIAS, LINEAR, NORM, SHIFT_NORM, Part, Shape


def attention(shape: Shape) -> Iterator[Part]:
    """The four matrices of attention."""
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    yield "self_attn.q_proj.weight", (q, shape.hidden), LINEAR
    yield "self_attn.k_proj.weight", (kv, shape.hidden), LINEAR
    yield "self_attn.v_proj.weight", (kv, shape.hidden), LINEAR
    yield "self_attn.o_proj.weight", (shape.hidden, q), LINEAR


def gated(shape: Shape) -> Iterator[Part]:
    """The three matrices of a gated feed-forward network."""
    yield "mlp.gate_proj.weight", (shape.intermediate, shape.hidden), LINEAR
    yield "mlp.up_proj.weight", (shape.intermediate, shape.hidden), LINEAR
    yield "mlp.down_proj.weight", (shape.hidden, shape.intermediate), LINEAR


def two_norms(shape: Shape) -> Iterator[Part]:
    """The norms before attention and before the feed-forward network."""
    yield "input_layernorm.weight", (shape.hidden,), NORM
    yield "post_attention_layernorm.weight", (shape.hidden,), NORM


def llama_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Llama."""
    yield from attention(shape)
    yield from gated(shape)
    yield from two_norms(shape)


def qwen2_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Qwen 2."""
    yield from llama_layer(shape)
    yield "self_attn.q_proj.bias", (shape.heads * shape.head,), BIAS
    yield "self_attn.k_proj.bias", (shape.kv_heads * shape.head,), BIAS
    yield "self_attn.v_proj.bias", (shape.kv_heads * shape.head,), BIAS


def qwen3_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Qwen 3."""
    yield from llama_layer(shape)
    yield "self_attn.q_norm.weight", (shape.head,), NORM
    yield "self_attn.k_norm.weight", (shape.head,), NORM


def gemma3_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Gemma 3."""
    yield from attention(shape)
    yield from gated(shape)
    for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        yield f"{name}_layernorm.weight", (shape.hidden,), SHIFT_NORM
    yield "self_attn.q_norm.weight", (shape.head,), SHIFT_NORM
    yield "self_attn.k_norm.weight", (shape.head,), SHIFT_NORM


def phi3_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Phi 3."""
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    yield "self_attn.qkv_proj.weight", (q + 2 * kv, shape.hidden), LINEAR
    yield "self_attn.o_proj.weight", (shape.hidden, q), LINEAR
    yield "mlp.gate_up_proj.weight", (2 * shape.intermediate, shape.hidden), LINEAR
    yield "mlp.down_proj.weight", (shape.hidden, shape.intermediate), LINEAR
    yield from two_norms(shape)


def bitnet_layer(shape: Shape) -> Iterator[Part]:
    """A layer of BitNet."""
    yield from llama_layer(shape)
    yield "self_attn.attn_sub_norm.weight", (shape.heads * shape.head,), NORM
    yield "mlp.ffn_sub_norm.weight", (shape.intermediate,), NORM


def gemma2_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Gemma 2."""
    yield from attention(shape)
    yield from gated(shape)
    for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        yield f"{name}_layernorm.weight", (shape.hidden,), SHIFT_NORM


def gemma_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Gemma."""
    yield from attention(shape)
    yield from gated(shape)
    for name in ("input", "post_attention"):
        yield f"{name}_layernorm.weight", (shape.hidden,), SHIFT_NORM


def olmo_layer(shape: Shape) -> Iterator[Part]:
    """A layer of OLMo."""
    yield from attention(shape)
    yield from gated(shape)


def olmo2_layer(shape: Shape) -> Iterator[Part]:
    """A layer of OLMo 2."""
    yield from attention(shape)
    yield from gated(shape)
    yield "self_attn.q_norm.weight", (shape.heads * shape.head,), NORM
    yield "self_attn.k_norm.weight", (shape.kv_heads * shape.head,), NORM
    yield "post_attention_layernorm.weight", (shape.hidden,), NORM
    yield "post_feedforward_layernorm.weight", (shape.hidden,), NORM


def hunyuan_layer(shape: Shape) -> Iterator[Part]:
    """A layer of HunYuan's dense models."""
    yield from llama_layer(shape)
    yield "self_attn.query_layernorm.weight", (shape.head,), NORM
    yield "self_attn.key_layernorm.weight", (shape.head,), NORM


def nemotron_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Nemotron."""
    yield from attention(shape)
    yield "mlp.up_proj.weight", (shape.intermediate, shape.hidden), LINEAR
    yield "mlp.down_proj.weight", (shape.hidden, shape.intermediate), LINEAR
    for name in ("input", "post_attention"):
        yield f"{name}_layernorm.weight", (shape.hidden,), SHIFT_NORM
        yield f"{name}_layernorm.bias", (shape.hidden,), BIAS


def phi_layer(shape: Shape) -> Iterator[Part]:
    """A layer of Phi."""
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    rows = {"self_attn.q_proj": (q, shape.hidden), "self_attn.k_proj": (kv, shape.hidden)}
    rows |= {"self_attn.v_proj": (kv, shape.hidden), "self_attn.dense": (shape.hidden, q)}
    rows |= {"mlp.fc1": (shape.intermediate, shape.hidden), "mlp.fc2": (shape.hidden, shape.intermediate)}
    yield from _with_biases(rows)
    yield "input_layernorm.weight", (shape.hidden,), NORM
    yield "input_layernorm.bias", (shape.hidden,), BIAS


def starcoder2_layer(shape: Shape) -> Iterator[Part]:
    """A layer of StarCoder 2."""
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    rows = {"self_attn.q_proj": (q, shape.hidden), "self_attn.k_proj": (kv, shape.hidden)}
    rows |= {"self_attn.v_proj": (kv, shape.hidden), "self_attn.o_proj": (shape.hidden, q)}
    rows |= {"mlp.c_fc": (shape.intermediate, shape.hidden), "mlp.c_proj": (shape.hidden, shape.intermediate)}
    yield from _with_biases(rows)
    for name in ("input", "post_attention"):
        yield f"{name}_layernorm.weight", (shape.hidden,), NORM
        yield f"{name}_layernorm.bias", (shape.hidden,), BIAS


def _with_biases(matrices: Mapping[str, tuple[int, int]]) -> Iterator[Part]:
    for name, size in matrices.items():
        yield f"{name}.weight", size, LINEAR
        yield f"{name}.bias", size[:1], BIAS
