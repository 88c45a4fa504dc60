"""Which matrix of a graph becomes which integers."""

from collections.abc import Container, Iterable
from dataclasses import replace
from importlib import resources

from modelmill import ConvertError, Tensor
from modelmill.recipe import Recipe, Setting, assign, check_matched, extend, parse_toml
from modelmill_onnx.options import Algorithm, QuantizeOptions

BITS = {"int4": 4, "int8": 8}


def algorithm_for(options: QuantizeOptions, scheme: str, inputs: Container[str], dtype: str) -> Algorithm:
    """The algorithm that is named, or the best that what is given allows. `dtype` is the source's scheme.

    At eight bits there is nothing to win by looking at activations, and a model in fp16 is for a device that is not
    here to run it.
    """
    if options.algorithm:
        return options.algorithm
    if "calibration" in inputs:
        return "gptq"
    return "importance" if scheme == "int4" and dtype == "fp32" else "mse"


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


def assign_bits(
    recipe: Recipe, matrices: Iterable[Tensor], setting: Setting, own: Recipe | None = None
) -> dict[str, int]:
    """Bits of every matrix that is quantized, by name. RecipeError where a rule of a target's `own` is for none."""
    if setting.tied:
        recipe = _sharing(recipe)
    assigned = assign(recipe, matrices, setting, fits=lambda kind, tensor: True)  # noqa: ARG005
    if own is not None:
        check_matched(own.rules, [item.tensor for item in assigned if item.type], setting)
    return {item.tensor.name: BITS[item.type] for item in assigned if item.type}


def _sharing(recipe: Recipe) -> Recipe:
    """The recipe for a model whose embedding is its output matrix: what it says of one is for the one matrix of both.

    In the graph that matrix is `lm_head`, and a tensor has one role.
    """

    def both(roles: tuple[str, ...]) -> tuple[str, ...]:
        return (*roles, "lm_head") if "embeddings" in roles else roles

    return replace(
        recipe,
        keep=tuple(replace(item, roles=both(item.roles)) for item in recipe.keep),
        rules=tuple(replace(rule, roles=both(rule.roles)) for rule in recipe.rules),
    )
