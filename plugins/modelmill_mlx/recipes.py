"""Which quantization each layer gets: the scheme's recipe, the user's, or what mlx-lm gives an architecture."""

from collections.abc import Mapping, Sequence
from importlib.resources import files

from modelmill import ConvertError, Tensor
from modelmill.recipe import Recipe, RecipeError, Setting, assign, check_matched, extend, parse_toml
from modelmill_mlx.schemes import RECIPES, TYPES, Quantization, of_type

ARCHITECTURES = {"granite": "granite"}
"""model_type → the recipe that mlx-lm gives it where nobody asks for another."""
_BESIDE_GROUP_SIZE = 64
"""The group size of the layers that an architecture's own recipe names, whatever the option says."""


Choice = tuple[Quantization, Mapping[str, object] | None]
"""How a weight is quantized, and what config.json says of its layer."""


def recipe_named(name: str) -> Recipe:
    """A recipe that this plugin brings."""
    return parse_toml(files("modelmill_mlx").joinpath("recipes", f"{name}.toml").read_text())


def chosen(
    tensors: Sequence[Tensor], scheme: str, group_size: int, recipe: Recipe | None, setting: Setting
) -> dict[str, Choice]:
    """For each tensor that is quantized, how, and what config.json says of its layer (None where nothing).

    The words in config.json are mlx-lm's: nothing about layers that have the scheme's own type, except under a mixed
    recipe, which names every layer. RecipeError and ConvertError for a recipe that cannot be followed.
    """
    own = ARCHITECTURES.get(setting.architecture or "")
    if recipe is not None or scheme in RECIPES:
        mixed = _mixed(tensors, _full(scheme, recipe), group_size, setting)
        quantized = [tensor for tensor in tensors if tensor.name in mixed]
        check_matched(() if recipe is None else recipe.rules, quantized, setting)
        return mixed
    usual = of_type(scheme, group_size)
    found: dict[str, Choice] = {t.name: (usual, None) for t in tensors}
    if own is not None:
        named = assign(recipe_named(own), tensors, setting, fits=lambda kind, tensor: True)  # noqa: ARG005
        for item in named:
            if item.type is not None:
                quantization = of_type(item.type, _BESIDE_GROUP_SIZE)
                entry = {"group_size": quantization.group_size, "bits": quantization.bits}
                found[item.tensor.name] = (quantization, entry)
    return found


def _full(scheme: str, recipe: Recipe | None) -> Recipe:
    base = recipe_named(scheme) if scheme in RECIPES else Recipe(default=scheme, layer=r"\.layers\.(\d+)\.")
    if recipe is None:
        return base
    if recipe.extends is not None and recipe.extends not in (*RECIPES, *ARCHITECTURES.values()):
        raise RecipeError(f"the recipe extends {recipe.extends!r}; the MLX converter has {', '.join(RECIPES)}")
    if recipe.extends is not None:
        recipe = extend(recipe, recipe_named(recipe.extends))
    return extend(recipe, base)


def _mixed(tensors: Sequence[Tensor], recipe: Recipe, group_size: int, setting: Setting) -> dict[str, Choice]:
    found: dict[str, Choice] = {}
    for item in assign(recipe, tensors, setting, fits=lambda kind, tensor: True):  # noqa: ARG005
        if item.type is None:
            continue
        if item.type not in TYPES:
            raise ConvertError(
                f"the recipe gives {item.tensor.name!r} the type {item.type!r}; MLX has {', '.join(TYPES)}"
            )
        quantization = of_type(item.type, group_size)
        entry = {"group_size": quantization.group_size, "bits": quantization.bits, "mode": quantization.mode}
        found[item.tensor.name] = (quantization, entry)
    return found
