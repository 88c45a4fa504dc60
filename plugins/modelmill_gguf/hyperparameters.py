"""A model's configuration as numbers: read from config.json's content, each checked, with the class's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError
from modelmill_gguf.precision import LARGEST, SMALLEST

_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Sizes are counts of values; `rope` is the rotary embedding's parameters of the full-attention layers.

    `local_rope_base` is the base of the layers with a sliding window, where it differs. `config` is the whole
    configuration for what only one architecture has.
    """

    layers: int
    width: int
    inner: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    context: int
    norm_epsilon: float
    rope: Mapping[str, Any]
    rope_base: float
    local_rope_base: float | None
    tied: bool
    config: Mapping[str, Any]

    @property
    def original_context(self) -> int:
        """The context before it was stretched; transformers prefers the model's own key to that beside the factors."""
        key = "original_max_position_embeddings"
        return count({key: self.context, **self.rope, **self.config}, key)

    def dimension(self, name: str) -> int:
        """The size that a table names."""
        sizes = {
            "vocabulary": self.vocabulary,
            "width": self.width,
            "inner": self.inner,
            "twice inner": 2 * self.inner,
            "head": self.head,
            "query": self.heads * self.head,
            "key": self.key_heads * self.head,
            "query key value": (self.heads + 2 * self.key_heads) * self.head,
        }
        return sizes[name]


def read(config: Mapping[str, Any], defaults: Mapping[str, Any], *, tied: bool) -> Hyperparameters:
    """The hyperparameters of a configuration. Raises ConvertError for what is missing or no number."""
    merged = {**defaults, **{key: value for key, value in config.items() if value is not None}}
    heads = count(merged, "num_attention_heads")
    width = count(merged, "hidden_size")
    rope = _rope(merged)
    full = rope.get("full_attention", rope)
    local = rope.get("sliding_attention", {}).get("rope_theta", merged.get("rope_local_base_freq"))
    tie = merged.get("tie_word_embeddings", tied)
    return Hyperparameters(
        layers=count(merged, "num_hidden_layers"),
        width=width,
        inner=count(merged, "intermediate_size"),
        heads=heads,
        key_heads=count({"num_key_value_heads": heads, **merged}, "num_key_value_heads"),
        head=count({"head_dim": width // heads, **merged}, "head_dim"),
        vocabulary=count(merged, "vocab_size"),
        context=count(merged, "max_position_embeddings"),
        norm_epsilon=_real(merged, "rms_norm_eps"),
        rope=full,
        rope_base=positive(full.get("rope_theta", merged.get("rope_theta", 10_000.0)), "rope_theta"),
        local_rope_base=None if local is None else positive(local, "rope_local_base_freq"),
        tied=bool(tie),
        config=merged,
    )


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 5 writes `rope_parameters`, earlier versions `rope_scaling` beside `rope_theta`."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(found, dict):
        raise ConvertError(f"config.json: rope_scaling holds {type(found).__name__}, not an object.")
    rope = dict(found)
    for key in ("full_attention", "sliding_attention"):
        if not isinstance(rope.get(key, {}), dict):
            raise ConvertError(f"config.json: {key} of rope_parameters is not an object.")
    if "type" in rope:
        rope.setdefault("rope_type", rope["type"])
    if not isinstance(rope.get("rope_type", ""), str):
        raise ConvertError("config.json: rope_type is not text.")
    return rope


def count(config: Mapping[str, Any], key: str) -> int:
    """A positive whole number of the configuration. Raises ConvertError for anything else."""
    value = config.get(key)
    if type(value) is not int or not 0 < value <= _MOST:
        raise ConvertError(f"config.json: {key} must be a positive whole number, and is {value!r}.")
    return value


def _real(config: Mapping[str, Any], key: str) -> float:
    return number(config.get(key), key)


def positive(value: Any, key: str) -> float:
    """A real number above zero, in single precision too. Raises ConvertError for anything else."""
    found = number(value, key)
    if found < SMALLEST:
        what = "above 0" if found <= 0 else f"{SMALLEST} or more"
        raise ConvertError(f"config.json: {key} must be {what}, and is {value!r}.")
    return found


def number(value: Any, key: str) -> float:
    """A real number of the configuration. Raises ConvertError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ConvertError(f"config.json: {key} must be a number, and is {value!r}.")
    return float(value)
