"""Whether a model's layers hold three values each: what its configuration says, and what its weights show.

The measure is BitNet's own rule (absmean, arXiv:2402.17764, section 2): weights beyond half the mean magnitude are
±1, the others 0. The distance is what that leaves out, |w - s q| / |w| in the Frobenius norm, with the scale s that
fits best. It is 0 for exactly ternary weights, some 0.01 after a rounding to few bits, and near 0.5 for all others.
"""

import math
import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from modelmill.types import Facts, Tensor

TERNARY_TOLERANCE = 0.01
"""The distance up to which a layer counts as ternary: BF16 rounds each value by 0.004 of itself at most."""
BITNET_CLASSES = ("BitNetForCausalLM", "BitnetForCausalLM")
"""transformers' class, and the one of 1bitLLM's first checkpoints."""
_MEASURED = ("BF16", "F16", "F32")
_WINDOWS, _WINDOW = 16, 64
_NO_LAYERS = ("embed", "embd", "lm_head", "output.weight", "norm")


def declared_ternary(facts: Facts) -> str | None:
    """What says of a checkpoint that it was trained ternary; None where nothing does."""
    if facts.architecture in BITNET_CLASSES:
        return f"config.json names {facts.architecture}"
    entry = facts.config.get("quantization_config")
    if isinstance(entry, Mapping) and entry.get("quant_method") == "bitnet":
        return "config.json has the quant_method 'bitnet'"
    return None


def linear_layers(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The matrices of a model's layers that hold plain numbers, by name: neither embedding nor output."""
    found = (
        tensor
        for tensor in tensors
        if len(tensor.shape) == 2  # noqa: PLR2004 - a matrix
        and tensor.dtype in _MEASURED
        and 0 not in tensor.shape
        and not any(word in tensor.name for word in _NO_LAYERS)
    )
    return sorted(found, key=lambda tensor: tensor.name)


def sampled_ternary_distance(raw: memoryview, dtype: str) -> float:
    """The distance of some 1,000 values, spread evenly over a tensor's bytes; infinite where one is not finite."""
    counts = Counter(_sample(raw, dtype))
    magnitudes: Counter[float] = Counter()
    for value, count in zip(_floats(counts, dtype), counts.values(), strict=True):
        magnitudes[abs(value)] += count
    return ternary_distance(magnitudes)


def ternary_distance(magnitudes: Mapping[float, int]) -> float:
    """The distance of values, given as magnitudes and how often each occurs; infinite where one is not finite."""
    if not all(map(math.isfinite, magnitudes)):
        return math.inf
    mean = sum(value * count for value, count in magnitudes.items()) / max(1, sum(magnitudes.values()))
    kept = {value: count for value, count in magnitudes.items() if value > mean / 2}
    norm = sum(value * value * count for value, count in magnitudes.items())
    if not norm:
        return 0.0
    scale = sum(value * count for value, count in kept.items()) / sum(kept.values())
    lost = sum((value - (scale if value in kept else 0.0)) ** 2 * count for value, count in magnitudes.items())
    return math.sqrt(lost / norm)


def _sample(raw: memoryview, dtype: str) -> Sequence[int]:
    """The bits of some values: windows, so that few pages of a mapped file are read."""
    words = raw.cast("B").cast("I" if dtype == "F32" else "H")
    if len(words) <= _WINDOWS * _WINDOW:
        return words
    found = array(words.format)
    for at in range(_WINDOWS):
        start = (len(words) - _WINDOW) * at // (_WINDOWS - 1)
        found.extend(words[start : start + _WINDOW])
    return found


def _floats(words: Iterable[int], dtype: str) -> tuple[float, ...]:
    if dtype == "F16":
        bits = array("H", words)
        return struct.unpack(f"={len(bits)}e", bits)
    wide = array("I", words if dtype == "F32" else (word << 16 for word in words))
    return struct.unpack(f"={len(wide)}f", wide)
