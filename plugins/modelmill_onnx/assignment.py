"""Which matrix of a graph becomes which integers."""

from collections.abc import Iterable
from importlib import resources

from modelmill import ConvertError, Facts, Tensor
from modelmill.recipe import Recipe, Setting, assign, extend, parse_toml

BITS = {"int4": 4, "int8": 8}


def recipe_for(scheme: str, own: Recipe | None) -> Recipe:
    """The recipe of a scheme, with a target's own rules before it. ConvertError for one that cannot be meant."""
    base = _named(scheme)
    if own is None:
        return base
    recipe = extend(own, _named(own.extends) if own.extends else base)
    for kind in (recipe.default, *(rule.type for rule in recipe.rules)):
        if kind not in BITS:
            raise ConvertError(f"The recipe gives the type {kind!r}; ONNX matrices can be {' or '.join(BITS)}.")
    return recipe


def _named(name: str) -> Recipe:
    if name not in BITS:
        raise ConvertError(f"The recipe extends {name!r}, which is not known here; there is {', '.join(BITS)}.")
    return parse_toml((resources.files("modelmill_onnx") / "recipes" / f"{name}.toml").read_text())


def assign_bits(recipe: Recipe, matrices: Iterable[Tensor], setting: Setting) -> dict[str, int]:
    """Bits of every matrix that is quantized, by name."""
    assigned = assign(recipe, matrices, setting, fits=lambda kind, tensor: True)  # noqa: ARG005
    return {item.tensor.name: BITS[item.type] for item in assigned if item.type}


def setting_of(facts: Facts, *, tied: bool) -> Setting:
    """What recipes may ask of the model."""
    config = facts.config.get("text_config", facts.config)
    heads, groups = config.get("num_attention_heads", 1), config.get("num_key_value_heads")
    return Setting(
        architecture=facts.architecture,
        layers=config.get("num_hidden_layers", 0),
        gqa=heads // groups if groups else 1,
        tied=tied,
    )
