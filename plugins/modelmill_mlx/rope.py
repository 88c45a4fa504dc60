"""The rotary embedding that config.json states, under the names that mlx-lm reads, or why mlx-lm computes none such."""

from collections.abc import Mapping
from typing import Any

from modelmill import ConvertError
from modelmill_mlx.architectures import Architecture

_FACTOR = ("factor",)
_KEYS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "linear": _FACTOR,
    "dynamic": _FACTOR,
    "llama3": _FACTOR,
    "yarn": _FACTOR,
    "deepseek_yarn": _FACTOR,
    "telechat3-yarn": _FACTOR,
    "longrope": ("original_max_position_embeddings", "short_factor", "long_factor"),
    "proportional": (),
    "mrope": ("mrope_section",),
}
"""Kinds that mlx-lm knows, and what they cannot be without. Source: mlx_lm/models/rope_utils.py (`initialize_rope`)."""
_PHI3: Mapping[str, tuple[str, ...]] = {
    "linear": ("long_factor", "factor"),
    "longrope": ("long_factor", "short_factor"),
    "su": ("long_factor", "short_factor"),
}
"""The same for Phi 3, which reads the kind under `type` alone. Source: mlx_lm/models/phi3.py."""


def older_rope(architecture: Architecture, config: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 5's rope_parameters under the names that it had before, where mlx-lm knows only those.

    ConvertError for what is no table.
    """
    nested = _table(config, "rope_parameters", "rope_parameters")
    if "rope_theta" in config or not nested or architecture.rope_parameters:
        return {}
    whole = _table(nested, "full_attention", "full_attention in rope_parameters") or nested
    found = {"rope_theta": whole.get("rope_theta")}
    if whole.get("rope_type", "default") != "default":
        found["rope_scaling"] = {key: value for key, value in whole.items() if key != "rope_theta"}
    sliding = _table(nested, "sliding_attention", "sliding_attention in rope_parameters")
    if sliding:
        found["rope_local_base_freq"] = sliding.get("rope_theta")
    return {key: value for key, value in found.items() if value is not None}


def require_known_rope(architecture: Architecture, config: Mapping[str, Any]) -> None:
    """ConvertError for a rotary embedding that mlx-lm makes no model with."""
    written = {**older_rope(architecture, config), **config}
    scaling = _table(written, "rope_scaling", "rope_scaling")
    if scaling is None and architecture.rope_parameters:
        scaling = _table(written, "rope_parameters", "rope_parameters")
    if not scaling or not architecture.rope_scaling:
        return
    phi3 = architecture.name == "phi3"
    known = _PHI3 if phi3 else _KEYS
    kind = scaling.get("type") or (None if phi3 else scaling.get("rope_type", "default"))
    if not isinstance(kind, str) or kind not in known:
        raise ConvertError(
            f"config.json: the rotary embedding is of the type {kind!r}, which mlx-lm does not know for "
            f"{architecture.name}; it knows {', '.join(known)}"
        )
    for key in known[kind]:
        if scaling.get(key) is None:
            raise ConvertError(
                f"config.json: the rotary embedding of type {kind!r} has no {key}, without which it is none"
            )
    factor: Any = scaling.get("factor")
    if "factor" in known[kind] and (type(factor) not in (int, float) or factor <= 0):
        raise ConvertError(f"config.json: the rotary embedding's factor is {factor!r}, not a number above 0")


def _table(config: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any] | None:
    found = config.get(key)
    if found is not None and not isinstance(found, Mapping):
        raise ConvertError(f"config.json: {name} is {found!r}, not a table")
    return found
