"""Which weights an MLX model will hold, and of which type: decided from headers, before a weight is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill import ConvertError, Tensor
from modelmill.checkpoint import DERIVED_BUFFERS
from modelmill.recipe import Recipe, Setting
from modelmill_mlx.architectures import (
    Architecture,
    architecture_of,
    expected_shape,
    has_bias,
    is_tied,
    layers_of,
    modules_of,
)
from modelmill_mlx.recipes import Choice, chosen
from modelmill_mlx.rope import require_known_rope
from modelmill_mlx.schemes import FLOATS, GROUP_SIZES, SAFETENSORS, TYPES, Quantization, stored

KEPT = "the recipe keeps them"
_FLOATING = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for beside the model: a scheme and the step's options."""

    scheme: str
    group_size: int | None = None
    dtype: str | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One weight of the result: its tensor before quantization in its new dtype, and how it is quantized.

    `kept` says why a layer that could be quantized is not. `entry` is what config.json says of its layer.
    """

    tensor: Tensor
    source: Tensor
    quantization: Quantization | None = None
    entry: Mapping[str, object] | None = None
    kept: str | None = None

    @property
    def path(self) -> str:
        """Its layer's path in mlx-lm's model."""
        return self.tensor.name.rpartition(".")[0]

    @property
    def stored(self) -> tuple[Tensor, ...]:
        """The tensors of the file that hold it."""
        return stored(self.tensor, self.quantization)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The weights in mlx-lm's order, and what config.json says of all quantized layers together."""

    weights: tuple[Weight, ...]
    default: Quantization | None


def plan_layout(config: Mapping[str, Any], tensors: Sequence[Tensor], request: Request) -> Layout:
    """The layout for a checkpoint of these tensors. ConvertError for what cannot be converted."""
    _refuse_quantized(config)
    architecture = architecture_of(config)
    require_known_rope(architecture, config)
    default = _default(request)
    weights = _weights(architecture, config, tensors, _dtype(config, request))
    if default is None:
        return Layout(weights=weights, default=None)
    return Layout(weights=_quantized(architecture, config, weights, default, request), default=default)


def kept_layers(layout: Layout) -> dict[str, tuple[str, ...]]:
    """The layers that could be quantized and are not, by the reason why."""
    found: dict[str, tuple[str, ...]] = {}
    for weight in layout.weights:
        if weight.kept is not None:
            found[weight.kept] = (*found.get(weight.kept, ()), weight.path)
    return found


def _refuse_quantized(config: Mapping[str, Any]) -> None:
    for key in ("quantization", "quantization_config"):
        found = config.get(key)
        if found:
            method = found.get("quant_method", "MLX's") if isinstance(found, Mapping) else found
            raise ConvertError(
                f"config.json: {key} says that the checkpoint is quantized already ({method}); "
                "convert the checkpoint that it was made from"
            )


def _default(request: Request) -> Quantization | None:
    if request.scheme in FLOATS:
        if request.group_size is not None or request.recipe is not None:
            raise ConvertError(
                f"the scheme {request.scheme!r} quantizes nothing, so it has no group_size and no recipe"
            )
        return None
    # mlx-lm words a mixed recipe's default as 4 bits whatever the recipe holds (`defaults_for_mode`).
    bits, mode = TYPES.get(request.scheme, (4, "affine"))
    sizes = GROUP_SIZES[mode]
    group_size = request.group_size or sizes[0]
    if group_size not in sizes:
        known = ", ".join(map(str, sorted(sizes)))
        raise ConvertError(f"the scheme {request.scheme!r} has groups of {known} values, not {group_size}")
    return Quantization(bits=bits, group_size=group_size, mode=mode)


def _dtype(config: Mapping[str, Any], request: Request) -> str | None:
    """The dtype that unquantized values and scales get; None leaves each as it is. Source: mlx_lm/convert.py."""
    if request.scheme in FLOATS:
        word, safetensors = FLOATS[request.scheme]
        if request.dtype not in (None, word):
            raise ConvertError(
                f"the scheme {request.scheme!r} is {word} throughout; leave out dtype = {request.dtype!r}"
            )
        return safetensors
    text = config.get("text_config")
    word = (
        request.dtype or config.get("torch_dtype") or (text.get("dtype") if isinstance(text, Mapping) else None) or ""
    )
    return SAFETENSORS.get(word)


def _weights(
    architecture: Architecture, config: Mapping[str, Any], tensors: Sequence[Tensor], dtype: str | None
) -> tuple[Weight, ...]:
    there = {tensor.name: tensor for tensor in tensors}
    tied = is_tied(architecture, config, frozenset(there))
    found = []
    for module in modules_of(architecture, layers_of(config)):
        if module.path == "lm_head" and tied:
            continue
        shape = expected_shape(module, config)
        found.append(_weight(there, f"{module.path}.weight", shape, dtype))
        if has_bias(module, config):
            found.append(_weight(there, f"{module.path}.bias", shape[:1], dtype))
    _refuse_strangers(architecture, there, found)
    return tuple(found)


def _weight(there: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...], dtype: str | None) -> Weight:
    tensor = there.get(name)
    if tensor is None:
        raise ConvertError(f"the checkpoint has no tensor {name!r}, which config.json asks for")
    if len(tensor.shape) != len(shape) or any(
        size not in (None, found) for size, found in zip(shape, tensor.shape, strict=True)
    ):
        wanted = " x ".join("?" if size is None else str(size) for size in shape)
        raise ConvertError(
            f"tensor {name!r} has the shape {list(tensor.shape)} where config.json asks for {wanted}: "
            "they do not belong together"
        )
    if tensor.dtype not in _FLOATING:
        raise ConvertError(f"tensor {name!r} is of type {tensor.dtype}; the MLX converter takes F32, F16 and BF16")
    return Weight(tensor=Tensor(name=name, dtype=dtype or tensor.dtype, shape=tensor.shape), source=tensor)


def _refuse_strangers(architecture: Architecture, there: Mapping[str, Tensor], taken: Sequence[Weight]) -> None:
    known = {weight.tensor.name for weight in taken} | {"lm_head.weight"}
    for name in sorted(there.keys() - known):
        if not name.endswith(DERIVED_BUFFERS):
            raise ConvertError(f"tensor {name!r} has no place in mlx-lm's model for {architecture.name}")


def _quantized(
    architecture: Architecture,
    config: Mapping[str, Any],
    weights: Sequence[Weight],
    default: Quantization,
    request: Request,
) -> tuple[Weight, ...]:
    eligible = [weight.tensor for weight in weights if _quantizable(weight) and default.fits(weight.tensor.shape[-1])]
    heads, groups = config.get("num_attention_heads", 1), config.get("num_key_value_heads", 1)
    setting = Setting(
        architecture=architecture.name,
        layers=layers_of(config),
        gqa=heads // groups if type(heads) is int and type(groups) is int and groups else 1,
        tied=not any(weight.path == "lm_head" for weight in weights),
    )
    types = chosen(eligible, request.scheme, default.group_size, request.recipe, setting)
    candidates = {tensor.name for tensor in eligible}
    return tuple(_with_type(weight, types, default, candidates) for weight in weights)


def _quantizable(weight: Weight) -> bool:
    return len(weight.tensor.shape) > 1 and weight.tensor.name.endswith(".weight")


def _with_type(
    weight: Weight,
    types: Mapping[str, Choice],
    default: Quantization,
    candidates: set[str],
) -> Weight:
    if not _quantizable(weight):
        return weight
    width = weight.tensor.shape[-1]
    kept = None
    if weight.tensor.name not in types:
        kept = (
            KEPT
            if weight.tensor.name in candidates
            else f"their width of {width} is no multiple of the group size {default.group_size}"
        )
        return Weight(tensor=weight.tensor, source=weight.source, kept=kept)
    quantization, entry = types[weight.tensor.name]
    if not quantization.fits(width):
        raise ConvertError(
            f"{weight.path}: its width of {width} does not divide into groups of {quantization.group_size}, which its "
            f"architecture asks for; use a recipe of your own"
        )
    return Weight(tensor=weight.tensor, source=weight.source, quantization=quantization, entry=entry)
