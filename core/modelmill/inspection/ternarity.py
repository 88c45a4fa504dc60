"""Whether a model is ternary, as `inspect` tells it: by what it says of itself, by how it is stored, by its weights."""

import math
from dataclasses import dataclass
from pathlib import Path

from modelmill.checkpoint import TERNARY_TOLERANCE, declared_ternary, linear_layers, sampled_ternary_distance
from modelmill.errors import ConvertError
from modelmill.types import Facts, Format

_TERNARY_TYPES = ("TQ1_0", "TQ2_0", "I2_S")
"""Types of tensors that hold three values and nothing else (ggml-common.h; bitnet.cpp)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ternarity:
    """Whether a model is ternary, and `because` of what: one clause for a person.

    `distance` is that of the layer that lies farthest from ternary values, of a sample of its weights (see
    `modelmill.checkpoint.ternary_distance`); None where no layer holds plain numbers.
    """

    ternary: bool
    because: str
    distance: float | None = None
    layer: str | None = None


def ternarity(format_: Format, folder: Path, facts: Facts) -> Ternarity | None:
    """What is known of it; None where neither configuration nor types nor weights tell."""
    stored = next((tensor.dtype for tensor in facts.tensors if tensor.dtype in _TERNARY_TYPES), None)
    if stored is not None:
        return Ternarity(ternary=True, because=f"its layers are stored as {stored}")
    layer, distance = _farthest(format_, folder, facts)
    figure = "" if distance is None else f"{distance:.1%} from -s, 0 and s (sampled)"
    if (declared := declared_ternary(facts)) is not None:
        because = f"{declared}; its master weights lie up to {figure}" if figure else declared
        return Ternarity(ternary=True, because=because, distance=distance, layer=layer)
    if layer is not None and distance is None:
        return Ternarity(ternary=False, because=f"{layer} holds a value that is not finite", layer=layer)
    if distance is None:
        return None
    return Ternarity(
        ternary=distance <= TERNARY_TOLERANCE,
        because=f"its layers lie up to {figure}",
        distance=distance,
        layer=layer,
    )


def _farthest(format_: Format, folder: Path, facts: Facts) -> tuple[str | None, float | None]:
    """The layer that is farthest from ternary. The format's reader may need a tool that is not installed."""
    layers = {tensor.name for tensor in linear_layers(facts.tensors)}
    if not layers or format_.tensors is None:
        return None, None
    found: tuple[str | None, float | None] = (None, None)
    try:
        for item in format_.tensors(folder):
            if item.tensor.name in layers:
                distance = round(sampled_ternary_distance(item.raw, item.tensor.dtype), 6)
                if distance == math.inf:
                    return item.tensor.name, None
                if found[1] is None or distance > found[1]:
                    found = item.tensor.name, distance
    except (ImportError, ConvertError):
        return None, None
    return found
