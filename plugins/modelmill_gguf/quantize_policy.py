"""Which type each tensor of a GGUF model gets from a scheme: llama.cpp's policies, as recipes.

Only the standard library, because plans are made from it. Source: llama.cpp, src/llama-quant.cpp.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Tensor
from modelmill.recipe import Keep, Recipe, RecipeError, Rule, Setting, When, assign, check_matched, extend, parse_toml
from modelmill_gguf import file_types
from modelmill_gguf.tensor_types import PACKED, TYPES

_FOLDER = Path(__file__).parent / "recipes"
SCHEMES = tuple(name for name in file_types.SCHEMES if (_FOLDER / f"{name}.toml").is_file())
TERNARY = frozenset({"TQ1_0", "TQ2_0"})

# What llama.cpp calls a model of 70B: its architecture and its number of layers.
_SIZE_70B = frozenset({("qwen2", 80), ("deci", 80), ("olmo", 80), ("jais2", 68)})

# Types that give garbage without an importance matrix, and those that ggml refuses outright, in any tensor.
_NEED_IMATRIX = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"})
_CANNOT_WITHOUT_IMATRIX = frozenset({"IQ2_XXS", "IQ2_XS", "IQ1_S"})
_TABLES = frozenset({"output.weight", "token_embd.weight", "per_layer_token_embd.weight"})

_OUTPUT = r"^output\.weight$"
_EMBEDDINGS = r"^(per_layer_)?token_embd\.weight$"

READABLE = frozenset({"F32", "F16", "BF16"})
"""The types that the quantizer takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """What a target may say about a quantization beyond its scheme.

    `recipe` takes the place of the scheme's own; it may extend one by its name. `tensor_types` are overrides such
    as `ffn_down=Q8_0`, a regular expression and a type, tried in order before the recipe. `output_type` and
    `embedding_type` settle the output matrix and the token embedding. `pure` gives every tensor the scheme's
    basic type. `leave_output` keeps the output matrix as it is. `split_max_size` splits the result into files with
    no more than so much of tensors (`2G`, `500M`).
    """

    recipe: Recipe | None = None
    tensor_types: tuple[str, ...] = ()
    output_type: str | None = None
    embedding_type: str | None = None
    pure: bool = False
    leave_output: bool = False
    split_max_size: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One tensor: what it is, what it becomes, and the type that it would have had if its rows divided."""

    source: Tensor
    result: Tensor
    wanted: str

    @property
    def fell_back(self) -> bool:
        """Whether the shape asked for another type."""
        return self.wanted != self.result.dtype


@lru_cache(maxsize=64)
def scheme_recipe(name: str) -> Recipe:
    """The recipe of a scheme, whole; raises RecipeError for a name that there is not."""
    path = _FOLDER / f"{name}.toml"
    known = {file.stem for file in _FOLDER.glob("*.toml")}
    if name not in known:
        raise RecipeError(f"There is no recipe {name!r} to extend; there is {', '.join(sorted(known))}.")
    return whole(parse_toml(path.read_text()))


def whole(recipe: Recipe) -> Recipe:
    """The recipe with what it extends behind it."""
    if recipe.extends is None:
        return recipe
    base = scheme_recipe(recipe.extends)
    return extend(replace(recipe, extends=None), base)


def decide(
    scheme: str,
    options: QuantizeOptions,
    metadata: Mapping[str, Any],
    tensors: Iterable[Tensor],
    imatrix: Iterable[str] | None,
) -> tuple[Decision, ...]:
    """The type of every tensor, in the order in which llama.cpp writes them.

    `metadata` holds the model's scalar keys; `imatrix` names the tensors that an importance matrix covers.
    Raises ConvertError for what cannot be done.
    """
    ordered = sorted((_without_outer_ones(tensor) for tensor in tensors), key=file_order)
    recipe = _recipe(scheme, options)
    setting = _setting(metadata, ordered, imatrix is not None)
    overrides = _overrides(options)
    try:
        assignments = assign(recipe, ordered, setting, fits=_fits, overrides=tuple(rule for rule, _ in overrides))
        if options.recipe is not None and not options.pure:
            quantized = [found.tensor for found in assignments if found.wanted is not None]
            check_matched(options.recipe.rules, quantized, setting)
    except RecipeError as error:
        raise ConvertError(str(error)) from error
    used = {found.override for found in assignments}
    settled = [found.tensor.name for found in assignments if found.override is not None]
    for number, (rule, text) in enumerate(overrides):
        if number in used or not text:
            continue
        if any(re.search(pattern, name) for pattern in rule.tensors for name in settled):
            raise ConvertError(
                f"The override {text!r} changes nothing: overrides before it, or 'output_type' or 'embedding_type', "
                "settle all tensors that it matches; leave it out."
            )
        raise ConvertError(
            f"The override {text!r} matches no tensor that the scheme quantizes; correct its pattern or leave it out."
        )
    decisions = tuple(
        Decision(
            source=found.tensor,
            result=replace(found.tensor, dtype=found.type or found.tensor.dtype),
            wanted=found.wanted or found.tensor.dtype,
        )
        for found in assignments
    )
    _check_sources(decisions)
    _check_importance(scheme, decisions, imatrix)
    return decisions


def check_importance(item: Decision, values: int) -> bool:
    """Whether so many importances are used for a tensor; raises ConvertError where there should be another number."""
    if item.source.dtype == item.result.dtype:
        return False
    needed = item.source.shape[-1] * prod(item.source.shape[:-2])
    if values == needed:
        return True
    if item.source.name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return False  # its rows are looked up, not multiplied, and its importances never fit
    raise ConvertError(
        f"The importance matrix has {values} values for the tensor {item.source.name!r}, which needs {needed}; "
        "make it from the same model."
    )


def file_order(tensor: Tensor) -> tuple[int, bytes]:
    """llama.cpp's order of tensors: what belongs to no layer, then layer by layer, each by name."""
    match = re.match(r"blk\.\s*([+-]?\d+)", tensor.name)
    return int(match[1]) if match else -1, tensor.name.encode()


def _without_outer_ones(tensor: Tensor) -> Tensor:
    shape = tensor.shape or (1,)
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return replace(tensor, shape=shape)


def _recipe(scheme: str, options: QuantizeOptions) -> Recipe:
    try:
        recipe = scheme_recipe(scheme) if options.recipe is None else _in_capitals(whole(options.recipe))
    except RecipeError as error:
        raise ConvertError(str(error)) from error
    for kind in (rule.type for rule in recipe.rules):
        _check_type(kind, "The recipe")
    if recipe.default is None:
        raise ConvertError("The recipe has no default type; give it one, or let it extend a scheme's recipe.")
    _check_type(recipe.default, "The recipe")
    if options.leave_output:
        recipe = replace(recipe, keep=(Keep(tensors=(_OUTPUT,)), *recipe.keep))
    if options.pure:
        recipe = replace(recipe, rules=())
    elif options.output_type is not None:
        table = Rule(type=options.output_type.upper(), tensors=(_EMBEDDINGS,), when=When(tied=True))
        recipe = replace(recipe, rules=(table, *recipe.rules))
    return recipe


def _in_capitals(recipe: Recipe) -> Recipe:
    """A recipe with its types in capitals, as llama.cpp takes the types of options."""
    return replace(
        recipe,
        rules=tuple(replace(rule, type=rule.type.upper()) for rule in recipe.rules),
        default=None if recipe.default is None else recipe.default.upper(),
        fallbacks={kind.upper(): tuple(map(str.upper, kinds)) for kind, kinds in recipe.fallbacks.items()},
    )


def _overrides(options: QuantizeOptions) -> list[tuple[Rule, str]]:
    """The rules that go before the recipe, each with the text that the user wrote for it."""
    found: list[tuple[Rule, str]] = []
    patterns = [_override(text) for text in options.tensor_types]
    if options.embedding_type is not None:
        kind = _type_named(options.embedding_type, "The option 'embedding_type'")
        # The per-layer table is large and of its own kind: an override may name it.
        named = any(re.search(pattern, "per_layer_token_embd.weight") for pattern, _ in patterns)
        tensors = (r"^token_embd\.weight$",) if named else (_EMBEDDINGS,)
        found.append((Rule(type=kind, tensors=tensors), ""))
    if options.output_type is not None:
        kind = _type_named(options.output_type, "The option 'output_type'")
        found.append((Rule(type=kind, tensors=(_OUTPUT,)), ""))
    for text, (pattern, kind) in zip(options.tensor_types, patterns, strict=True):
        found.append((Rule(type=kind, tensors=(pattern,)), text))
    return found


def _override(text: str) -> tuple[str, str]:
    pattern, _, kind = text.rpartition("=")
    if not pattern:
        raise ConvertError(
            f"The override {text!r} must be a pattern, an equals sign and a type, as in 'ffn_down=Q8_0'."
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConvertError(f"The pattern of the override {text!r} is no regular expression: {error}.") from error
    return pattern, _type_named(kind, f"The override {text!r}")


def _type_named(text: str, who: str) -> str:
    """The type that an option names, in capitals or not, as llama.cpp takes it."""
    kind = text.upper()
    _check_type(kind, who)
    return kind


def _check_type(kind: str, who: str) -> None:
    if kind not in PACKED:
        what = "which no weight can become" if kind in TYPES else "which GGUF does not have"
        raise ConvertError(f"{who} names the type {kind!r}, {what}; there is {', '.join(PACKED)}.")


def _fits(kind: str, tensor: Tensor) -> bool:
    return bool(tensor.shape) and tensor.shape[-1] % TYPES[kind].block_values == 0


def _setting(metadata: Mapping[str, Any], tensors: list[Tensor], imatrix: bool) -> Setting:  # noqa: FBT001
    architecture = str(metadata.get("general.architecture", ""))

    def number(key: str, default: int = 0) -> int:
        value = metadata.get(f"{architecture}.{key}", default)
        first = value[0] if isinstance(value, list | tuple) and value else value
        return first if isinstance(first, int) else default

    layers, heads = number("block_count"), number("attention.head_count")
    groups = number("attention.head_count_kv", heads)
    large = (architecture, layers) in _SIZE_70B or (
        architecture == "llama" and layers == 80 and heads != groups  # noqa: PLR2004
    )
    return Setting(
        architecture=architecture,
        size="70B" if large else None,
        layers=layers,
        gqa=heads // groups if groups else 0,
        experts=number("expert_count"),
        tied=all(tensor.name != "output.weight" for tensor in tensors),
        imatrix=imatrix,
    )


def _check_sources(decisions: tuple[Decision, ...]) -> None:
    for item in decisions:
        if item.source.dtype != item.result.dtype and item.source.dtype not in READABLE:
            raise ConvertError(
                f"The tensor {item.source.name!r} is {item.source.dtype} already, and quantizing twice loses twice; "
                "quantize the F32, F16 or BF16 model instead."
            )


def _check_importance(scheme: str, decisions: tuple[Decision, ...], imatrix: Iterable[str] | None) -> None:
    covered = frozenset(imatrix or ())
    for item in decisions:
        kind, name = item.result.dtype, item.source.name
        needs = name not in _TABLES and (kind in _NEED_IMATRIX or (kind == "Q2_K" and scheme == "Q2_K_S"))
        if (needs or kind in _CANNOT_WITHOUT_IMATRIX) and name not in covered and item.source.dtype != kind:
            if imatrix is None:
                raise ConvertError(
                    f"{scheme} needs an importance matrix for the tensor {name!r}, which becomes {kind}; "
                    "name one as the input 'imatrix', or choose a scheme of four bits or more."
                )
            raise ConvertError(
                f"The importance matrix has nothing for the tensor {name!r}, which becomes {kind}; "
                "make it from the same model, or give this tensor another type."
            )
