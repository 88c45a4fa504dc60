"""Whether a model fits a device: weights, KV cache and overhead against the profile's budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelmill.types import Facts, Hardware

_MIB = 1024**2
_DEFAULT_CONTEXT = 4096
_BYTES_PER_VALUE: Mapping[str, float] = {
    "f32": 4,
    "f16": 2,
    "bf16": 2,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
"""Bytes that a runtime's KV cache takes for one value; blocks of 32 values as in ggml."""
_MICRO_BATCH = 512
"""Tokens that llama.cpp computes at once (its n_ubatch); the compute buffer grows with it."""
_RUNTIME = 48 * _MIB
"""What a runtime takes before it loads a model, and for tables of its vocabulary: llama.cpp as measured."""
_PATTERNS: Mapping[str, int] = {"cohere2": 4, "gemma2": 2, "gemma3_text": 6}
"""By model_type: every nth layer keeps all tokens, the others a window, unless the configuration says otherwise.

These are the defaults of transformers' configurations, and of llama.cpp (`load_swa_pattern` in src/models).
"""
_ENCODERS = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "longformer",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "roberta",
    "roformer",
    "xlm-roberta",
)
"""Values of model_type that keep nothing of a token: they read a text at once, and write none."""
_MOST_STRETCH = 1024
"""More is no factor of a rotary embedding; published ones are some ten."""
_MOST_LAYERS = 10_000
"""More are no model but a number in a file; the deepest published ones have some hundred."""
_TIGHT = 0.9
"""Above this part of the budget a model fits on paper and may not beside whatever else runs there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A model's need on a device, in bytes, for `context` tokens; `largest_context` are the most that fit, 0 for none.

    `complete` is False where the configuration does not say how large the KV cache is: the need is then a
    lower bound.
    """

    weights: int
    kv_cache: int
    overhead: int
    budget: int
    context: int
    largest_context: int
    complete: bool

    @property
    def need(self) -> int:
        """All bytes together."""
        return self.weights + self.kv_cache + self.overhead

    @property
    def fits(self) -> bool:
        """Whether the budget holds all of it."""
        return self.need <= self.budget

    @property
    def tight(self) -> bool:
        """Whether it fits with less than a tenth of the budget to spare."""
        return self.fits and self.need > _TIGHT * self.budget


def fit(hardware: Hardware, facts: Facts, artifact_bytes: int) -> Fit | None:
    """What a model of these facts needs on a device; None where the profile has no memory budget.

    need = weights + 2 · layers · KV heads · head size · context · bytes(KV type) · parallel + overhead, where
    layers with a sliding window hold no more than the window, and encoders nothing. The context is the
    profile's, and no more than the model was made for. Overhead is the compute buffer of one
    micro-batch (its logits and the activations of one layer) and the runtime itself.
    """
    budget = hardware.fields.get("memory.budget_mib")
    if budget is None:
        return None
    config = _text_config(facts.config)
    asked: int = hardware.fields.get("workload.context", _DEFAULT_CONTEXT)
    context = min(asked, _made_for(config) or asked)
    overhead = _overhead(config)
    fixed = artifact_bytes + overhead
    complete = _layers(config) is not None
    return Fit(
        weights=artifact_bytes,
        kv_cache=_kv_cache(hardware, config, context),
        overhead=overhead,
        budget=budget * _MIB,
        context=context,
        largest_context=_largest(hardware, config, budget * _MIB - fixed, context) if complete else 0,
        complete=complete,
    )


def explain(fit: Fit, device: str) -> str:
    """Why a model does not fit, or only just, and what would work: one sentence."""
    parts = f"weights {_size(fit.weights)}, KV cache {_size(fit.kv_cache)}, overhead {_size(fit.overhead)}"
    verdict = "needs" if fit.fits else "does not fit: it needs"
    said = (
        f"on {device} the model {verdict} {_size(fit.need)} ({parts}) of {_size(fit.budget)} "
        f"for {fit.context:,} tokens of context"
    )
    if fit.fits:
        return said
    if fit.largest_context:
        return f"{said}; {fit.largest_context:,} tokens would fit, or a smaller scheme"
    room = fit.budget - fit.overhead
    if room <= 0:
        return f"{said}; no scheme of this model would fit"
    return f"{said}; its weights may take {_size(room)} at most: choose a smaller scheme, model or context"


def _size(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{count / _MIB:.0f} MiB"


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a configuration with more modalities."""
    nested = config.get("text_config")
    return nested if isinstance(nested, Mapping) else config


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if type(value) is int and value > 0 else 0


def _made_for(config: Mapping[str, Any]) -> int:
    """The most tokens that a model can tell the places of; 0 where the configuration does not say.

    The factor of a scaled rotary embedding counts unless the configuration says that it did already.
    """
    most = _count(config, "max_position_embeddings") or _count(config, "context_length")
    scaled = config.get("rope_scaling")
    if not isinstance(scaled, Mapping):
        return most
    factor = scaled.get("factor")
    if not isinstance(factor, int | float) or not 1 < factor <= _MOST_STRETCH:
        return most
    original = _count(scaled, "original_max_position_embeddings") or most
    return max(most, original * int(factor * 256) // 256)  # whole numbers, which may be of any length


def _layers(config: Mapping[str, Any]) -> list[int | None] | None:
    """For each layer the most tokens that it keeps, None for all; None where the configuration does not say."""
    if config.get("model_type") in _ENCODERS and not config.get("is_decoder"):
        return []
    layers = _count(config, "num_hidden_layers")
    if not 0 < layers <= _MOST_LAYERS or not _per_token(config):
        return None
    window = _count(config, "sliding_window")
    return [window if window and has else None for has in _windowed(config, layers)]


def _windowed(config: Mapping[str, Any], layers: int) -> list[bool]:
    """Of each layer, whether it attends to a window of tokens only."""
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == layers:
        return [kind == "sliding_attention" for kind in kinds]
    model = config.get("model_type")
    pattern = _count(config, "sliding_window_pattern") or (_PATTERNS.get(model, 0) if isinstance(model, str) else 0)
    if pattern:
        return [(at + 1) % pattern != 0 for at in range(layers)]
    first = _count(config, "max_window_layers")
    return [bool(config.get("use_sliding_window", model == "mistral")) and at >= first for at in range(layers)]


def _per_token(config: Mapping[str, Any]) -> int:
    """Values that one layer keeps of one token: a key and a value for each KV head."""
    heads = _count(config, "num_attention_heads")
    size = _count(config, "head_dim") or (_count(config, "hidden_size") // heads if heads else 0)
    return 2 * (_count(config, "num_key_value_heads") or heads) * size


def _kv_cache(hardware: Hardware, config: Mapping[str, Any], context: int) -> int:
    layers = _layers(config) or []
    tokens = sum(context if window is None else min(window, context) for window in layers)
    width = _BYTES_PER_VALUE[hardware.fields.get("workload.kv_type", "f16")]
    parallel = hardware.fields.get("workload.parallel", 1)
    return int(tokens * _per_token(config) * width * parallel)


def _largest(hardware: Hardware, config: Mapping[str, Any], room: int, asked: int) -> int:
    """The most tokens of context, in steps of 256 and no more than asked for, whose KV cache fits in `room`."""
    low, high = 0, asked // 256
    while low < high:
        middle = (low + high + 1) // 2
        if _kv_cache(hardware, config, middle * 256) <= room:
            low = middle
        else:
            high = middle - 1
    return low * 256 if room >= 0 else 0


def _overhead(config: Mapping[str, Any]) -> int:
    activations = 4 * _count(config, "hidden_size") + 2 * _count(config, "intermediate_size")
    return _RUNTIME + 4 * _MICRO_BATCH * (_count(config, "vocab_size") + activations)
