"""The rotary embedding: its base, and how it is stretched for longer contexts, in llama.cpp's metadata.

What llama.cpp computes was read in `llama_context` of its src/llama-context.cpp, what models mean by it in
transformers' `modeling_rope_utils`.
"""

from math import isclose, log

from modelmill_gguf.fields import Field, float32, string, uint32
from modelmill_gguf.hyperparameters import Hyperparameters, number, positive

_BETAS = {"beta_fast": 32.0, "beta_slow": 1.0}  # fixed in llama.cpp, whatever the file says


def fields(name: str, model: Hyperparameters) -> list[Field]:
    """The base, and the stretching where llama.cpp has it as metadata; llama3 becomes a tensor of factors."""
    found = [float32(f"{name}.rope.freq_base", model.rope_base)]
    if model.local_rope_base is not None:
        found.append(float32(f"{name}.rope.freq_base_swa", model.local_rope_base))
    kind = model.rope.get("rope_type")
    if kind not in ("linear", "yarn"):
        return found
    scaling = f"{name}.rope.scaling"
    found += [string(f"{scaling}.type", kind), float32(f"{scaling}.factor", _factor(model))]
    return found if kind == "linear" else found + _yarn(scaling, model)


def refuse(name: str, model: Hyperparameters, *kinds: str, only_usual: bool = False) -> str | None:
    """A stretching that llama.cpp's architecture does not know, or knows with other parameters than these.

    `only_usual` is for one that scales the attention of layers alike that the model does not.
    """
    kind = model.rope.get("rope_type", "default")
    if kind not in ("default", *kinds):
        known = ", ".join(("default", *kinds))
        return f"the rope scaling {kind!r} has no counterpart in llama.cpp's {name}; {known} have"
    if kind != "yarn":
        return None
    for key, fixed in _BETAS.items():
        asked = number(model.rope.get(key) or fixed, key)
        if asked != fixed:
            return f"config.json says {key} = {asked:g} of yarn, and llama.cpp computes with {fixed:g}"
    if model.rope.get("truncate") is False:
        return "config.json says truncate = false of yarn, and llama.cpp rounds the range"
    if only_usual and not isclose(_attention(model), _usual(model), rel_tol=1e-4):
        return f"llama.cpp's {name} has no attention factor of yarn but {_usual(model):.4f}"
    return None


def _factor(model: Hyperparameters) -> float:
    return positive(model.rope.get("factor"), "factor of rope_scaling")


def _usual(model: Hyperparameters, share: float = 1.0) -> float:
    """What yarn multiplies queries and keys with, as llama.cpp computes it by itself."""
    factor = _factor(model)
    return 1.0 if factor <= 1 else 0.1 * share * log(factor) + 1.0


def _attention(model: Hyperparameters) -> float:
    """What the model multiplies them with."""
    stated = model.rope.get("attention_factor")
    if stated is not None:
        return number(stated, "attention_factor")
    share, of_all = model.rope.get("mscale"), model.rope.get("mscale_all_dim")
    if share and of_all:
        return _usual(model, number(share, "mscale")) / _usual(model, number(of_all, "mscale_all_dim"))
    return _usual(model)


def _yarn(scaling: str, model: Hyperparameters) -> list[Field]:
    rope = model.rope
    usual = isclose(_attention(model), _usual(model), rel_tol=1e-4)
    found = [uint32(f"{scaling}.original_context_length", model.original_context)]
    stated = {
        "yarn_ext_factor": rope.get("extrapolation_factor"),
        "yarn_attn_factor": rope.get("attention_factor", rope.get("attn_factor")) if usual else None,
        "yarn_beta_fast": rope.get("beta_fast"),
        "yarn_beta_slow": rope.get("beta_slow"),
    }
    found += [float32(f"{scaling}.{key}", number(value, key)) for key, value in stated.items() if value is not None]
    if not usual:
        # llama.cpp's script writes yarn_attn_factor, which these architectures do not read; this key they all do.
        found.append(float32(f"{scaling}.attn_factor", _attention(model) / _usual(model)))
    return found
