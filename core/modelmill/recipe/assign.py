"""Which type a recipe gives to each tensor of a model."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from modelmill.errors import RecipeError
from modelmill.recipe.grammar import Keep, Recipe, Role, Rule, When
from modelmill.types import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a recipe's conditions ask of the model and of the step, beside the tensor itself.

    `size` is the format's own word for the model's size; `gqa` is the number of query heads per key-value head;
    `tied` says that the token embedding serves as the output matrix too; `imatrix` that one is given.
    """

    architecture: str | None = None
    size: str | None = None
    layers: int = 0
    gqa: int = 1
    experts: int = 0
    tied: bool = False
    imatrix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a recipe says of one tensor: its type, None where it stays as it is.

    `wanted` is the type before a fallback for the tensor's shape. `override` is the place of the override that
    settled it.
    """

    tensor: Tensor
    type: str | None
    wanted: str | None
    override: int | None = None


def assign(
    recipe: Recipe,
    tensors: Iterable[Tensor],
    setting: Setting,
    *,
    fits: Callable[[str, Tensor], bool],
    overrides: tuple[Rule, ...] = (),
) -> tuple[Assignment, ...]:
    """The type of every tensor, in the order given.

    `fits` says whether a type can hold a tensor of this shape. `overrides` are tried after `keep` and before the
    rules, and what they settle takes no place in a role's order. Raises RecipeError where `extends` was not
    resolved, a role is unknown, or neither a type nor its fallbacks can hold a tensor.
    """
    _check(recipe, overrides)
    tensors = tuple(tensors)
    roles = [_role_of(recipe, tensor.name) for tensor in tensors]
    members = Counter(role.name for role in roles if role)
    seen: dict[str, int] = {}
    found = []
    for tensor, role in zip(tensors, roles, strict=True):
        place = _Place(
            tensor=tensor,
            role=role.name if role else None,
            position=_position(recipe, role, tensor, setting, seen),
            of=members[role.name] if role and role.among == "role" else setting.layers,
            setting=setting,
        )
        if any(_applies(item, place) for item in recipe.keep):
            found.append(Assignment(tensor=tensor, type=None, wanted=None))
            continue
        override = next((number for number, rule in enumerate(overrides) if _applies(rule, place)), None)
        if override is not None:
            wanted: str | None = overrides[override].type
        else:
            wanted = next((rule.type for rule in recipe.rules if _applies(rule, place)), recipe.default)
            if role:
                seen[role.name] = seen.get(role.name, 0) + 1
        kind = _fitting(recipe, wanted, tensor, fits) if wanted else None
        found.append(Assignment(tensor=tensor, type=kind, wanted=wanted, override=override))
    return tuple(found)


def check_matched(rules: Iterable[Rule], tensors: Iterable[Tensor], setting: Setting) -> None:
    """Refuse a rule whose patterns are in no tensor's name: for the rules that a user wrote, not those behind them.

    A rule for other models, by a condition that this model does not meet, may match nothing. Raises RecipeError.
    """
    names = tuple(tensor.name for tensor in tensors)
    for rule in rules:
        told = {name: value for name, value in _given(rule.when) if name in _OF_MODEL}
        if rule.roles or not rule.tensors or not all(_OF_MODEL[name](value, setting) for name, value in told.items()):
            continue
        if not any(_matches(rule.tensors, name) for name in names):
            raise RecipeError(
                f"The rule {', '.join(rule.tensors)!r} matches no tensor that the scheme quantizes; "
                "correct its pattern or leave it out."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A tensor, its position among `of` layers or tensors, and the model around it."""

    tensor: Tensor
    role: str | None
    position: int | None
    of: int
    setting: Setting


def _check(recipe: Recipe, overrides: tuple[Rule, ...]) -> None:
    if recipe.extends is not None:
        raise RecipeError(f"The recipe extends {recipe.extends!r}, which is not known here.")
    known = {role.name for role in recipe.roles}
    rules: tuple[Rule | Keep, ...] = (*recipe.keep, *overrides, *recipe.rules)
    for rule in rules:
        for role in rule.roles:
            if role not in known:
                names = ", ".join(sorted(known)) or "none"
                raise RecipeError(f"A rule names the role {role!r}, and the recipe has the roles: {names}.")


def _role_of(recipe: Recipe, name: str) -> Role | None:
    return next((role for role in recipe.roles if _matches(role.tensors, name)), None)


def _position(
    recipe: Recipe, role: Role | None, tensor: Tensor, setting: Setting, seen: Mapping[str, int]
) -> int | None:
    if role and (role.position == "order" or (role.position == "order-unless-experts" and setting.experts <= 1)):
        return seen.get(role.name, 0)
    match = re.search(recipe.layer, tensor.name) if recipe.layer else None
    return int(match[1]) if match else None


def _fitting(recipe: Recipe, wanted: str, tensor: Tensor, fits: Callable[[str, Tensor], bool]) -> str:
    for kind in (wanted, *recipe.fallbacks.get(wanted, ())):
        if fits(kind, tensor):
            return kind
    raise RecipeError(
        f"The tensor {tensor.name!r} of shape {list(tensor.shape)} cannot be of type {wanted}, and the recipe has no "
        "fallback that suits it; give it another type."
    )


def _applies(rule: Rule | Keep, place: _Place) -> bool:
    if rule.tensors or rule.roles:
        hit = place.role in rule.roles or (bool(rule.tensors) and _matches(rule.tensors, place.tensor.name))
        if not hit:
            return False
    return all(
        _OF_MODEL[name](value, place.setting) if name in _OF_MODEL else _OF_TENSOR[name](value, place)
        for name, value in _given(rule.when)
    )


@lru_cache(maxsize=4096)
def _given(when: When) -> tuple[tuple[str, Any], ...]:
    values = ((item.name, getattr(when, item.name)) for item in fields(when))
    return tuple((name, value) for name, value in values if value is not None)


@lru_cache(maxsize=1 << 16)
def _matches(patterns: tuple[str, ...], name: str) -> bool:
    # Kept, because a plan asks the same of the same names for each scheme of each target.
    return any(re.search(pattern, name) for pattern in patterns)


def _share(value: int | str, of: int) -> tuple[int, int]:
    """Where the first `value` layers end, and where the last begin."""
    if isinstance(value, int):
        return value, of - value
    part, whole = (int(number) for number in value.split("/"))
    return of * part // whole, of * (whole - part) // whole


def _more_bits(position: int, of: int) -> bool:
    """Source: `use_more_bits` in llama.cpp's llama-quant.cpp; mlx-lm's mixed recipes use the same."""
    eighth = of // 8
    return position < eighth or position >= 7 * of // 8 or (position - eighth) % 3 == 2  # noqa: PLR2004


_OF_MODEL: Mapping[str, Callable[[Any, Setting], bool]] = {
    "size": lambda value, setting: setting.size == value,
    "architectures": lambda value, setting: setting.architecture in value,
    "gqa_at_least": lambda value, setting: setting.gqa >= value,
    "experts": lambda value, setting: setting.experts == value,
    "experts_at_least": lambda value, setting: setting.experts >= value,
    "tied": lambda value, setting: setting.tied == value,
    "imatrix": lambda value, setting: setting.imatrix == value,
}
_OF_TENSOR: Mapping[str, Callable[[Any, _Place], bool]] = {
    "first": lambda value, at: at.position is not None and at.position < _share(value, at.of)[0],
    "last": lambda value, at: at.position is not None and at.position >= _share(value, at.of)[1],
    "more_bits": lambda value, at: at.position is not None and value == _more_bits(at.position, at.of),
    "stacked": lambda value, at: value == (len(at.tensor.shape) > 2 and at.tensor.shape[-3] > 1),  # noqa: PLR2004
    "dimensions_below": lambda value, at: len(at.tensor.shape) < value,
    "divisible_by": lambda value, at: bool(at.tensor.shape) and at.tensor.shape[-1] % value == 0,
}
