"""What an architecture's module says: which Hugging Face tensor becomes which GGUF tensor, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from modelmill_gguf.fields import Field
from modelmill_gguf.hyperparameters import Hyperparameters


class Change(Enum):
    """What happens to a tensor's values on the way."""

    NONE = "none"
    PERMUTE_QUERY = "permute query"
    """The rows of each head go from halves (x0 x1 … y0 y1 …) to pairs (x0 y0 x1 y1 …), as ggml's rope wants."""
    PERMUTE_KEY = "permute key"
    PLUS_ONE = "plus one"
    """The norm's weight is stored as its distance from one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of tensor: `{}` in names is the layer's number, `shape` names dimensions of the hyperparameters."""

    source: str
    name: str
    shape: tuple[str, ...]
    change: Change = Change.NONE
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """A tensor that is computed from the configuration: always F32, one dimension."""

    name: str
    values: tuple[float, ...]


def _no_extras(_: Hyperparameters) -> tuple[Extra, ...]:
    return ()


def _no_check(_: Hyperparameters) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture of llama.cpp and the checkpoints that become it.

    `classes` are names in config.json's `architectures`. `defaults` are what the model class assumes where
    config.json is silent. `fields` gives the metadata under the architecture's name. `refuse` says why a
    configuration has no counterpart in llama.cpp, `tell` what llama.cpp leaves out of one that its own script takes.
    `drops` are tokens beyond the vocabulary that belong to a sibling with more modalities. `stated_tokens` is
    whether that script, in the architecture's sentencepiece vocabularies, takes added tokens as the files state them,
    whatever they look like.
    """

    name: str
    classes: tuple[str, ...]
    rules: tuple[Rule, ...]
    fields: Callable[[Hyperparameters], list[Field]]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    extras: Callable[[Hyperparameters], tuple[Extra, ...]] = _no_extras
    refuse: Callable[[Hyperparameters], str | None] = _no_check
    tell: Callable[[Hyperparameters], str | None] = _no_check
    tied_by_default: bool = False
    says_space_prefix: bool = False
    stated_tokens: bool = False
    drops: tuple[str, ...] = ()


EMBEDDINGS = (
    Rule(source="model.embed_tokens.weight", name="token_embd.weight", shape=("vocabulary", "width")),
    Rule(source="model.norm.weight", name="output_norm.weight", shape=("width",)),
    Rule(source="lm_head.weight", name="output.weight", shape=("vocabulary", "width"), optional=True),
)

_LAYER = "model.layers.{}."


def layer(
    source: str,
    name: str,
    *shape: str,
    change: Change = Change.NONE,
    bias: bool = False,
    optional: bool = False,
) -> tuple[Rule, ...]:
    """The rules for one module of a layer: its weight, and where the class may have one, its bias."""
    weight = Rule(
        source=f"{_LAYER}{source}.weight",
        name=f"blk.{{}}.{name}.weight",
        shape=shape,
        change=change,
        optional=optional,
    )
    if not bias:
        return (weight,)
    return (
        weight,
        Rule(
            source=f"{_LAYER}{source}.bias",
            name=f"blk.{{}}.{name}.bias",
            shape=shape[:1],
            change=change,
            optional=True,
        ),
    )


def attention(*, permuted: bool = False) -> tuple[Rule, ...]:
    """Query, key, value and output projections with one weight each."""
    query = Change.PERMUTE_QUERY if permuted else Change.NONE
    key = Change.PERMUTE_KEY if permuted else Change.NONE
    return (
        *layer("self_attn.q_proj", "attn_q", "query", "width", change=query, bias=True),
        *layer("self_attn.k_proj", "attn_k", "key", "width", change=key, bias=True),
        *layer("self_attn.v_proj", "attn_v", "key", "width", bias=True),
        *layer("self_attn.o_proj", "attn_output", "width", "query", bias=True),
    )


def gated_mlp() -> tuple[Rule, ...]:
    """The feed-forward network with a gate."""
    return (
        *layer("mlp.gate_proj", "ffn_gate", "inner", "width", bias=True),
        *layer("mlp.up_proj", "ffn_up", "inner", "width", bias=True),
        *layer("mlp.down_proj", "ffn_down", "width", "inner", bias=True),
    )


def norms() -> tuple[Rule, ...]:
    """The two norms of a layer that most architectures have."""
    return (
        *layer("input_layernorm", "attn_norm", "width"),
        *layer("post_attention_layernorm", "ffn_norm", "width"),
    )
