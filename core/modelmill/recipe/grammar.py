"""What a recipe is made of, and how it is read from a table."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, Self, get_args

from modelmill.errors import RecipeError

Position = Literal["layer", "order", "order-unless-experts"]
Among = Literal["layers", "role"]


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The closed list of conditions; one that is not given always holds.

    `first` and `last` are a number of layers or a share of them such as "1/8", rounded down. `more_bits` is the
    first eighth, the last eighth and every third layer between them, which llama.cpp and mlx-lm give more bits.
    `size` is the format's own word for the model's size, such as "70B". `gqa_at_least` counts query heads per
    key-value head. `tied`: the token embedding is the output matrix too. `stacked`: the tensor holds one matrix
    per expert. `divisible_by`: the row length is a multiple of this.
    """

    first: int | str | None = None
    last: int | str | None = None
    more_bits: bool | None = None
    size: str | None = None
    architectures: tuple[str, ...] | None = None
    gqa_at_least: int | None = None
    experts: int | None = None
    experts_at_least: int | None = None
    tied: bool | None = None
    imatrix: bool | None = None
    stacked: bool | None = None
    dimensions_below: int | None = None
    divisible_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A name for a group of tensors, and how a tensor's position among the layers is told.

    `layer` reads the layer's number in the tensor's name. `order` counts the tensors of the role that rules settled
    before this one, as llama.cpp does; `order-unless-experts` counts only in a model without experts. `among` is
    what `first` and `last` are a share of: the model's layers, or the tensors of this role.
    """

    name: str
    tensors: tuple[str, ...]
    position: Position = "layer"
    among: Among = "layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Tensors that stay as they are."""

    tensors: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    when: When = field(default_factory=When)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A type for the tensors that match; without `tensors` and `roles` every tensor matches."""

    type: str
    tensors: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    when: When = field(default_factory=When)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Ordered rules that say which tensor gets which type."""

    name: str = ""
    extends: str | None = None
    default: str | None = None
    layer: str | None = None
    roles: tuple[Role, ...] = ()
    keep: tuple[Keep, ...] = ()
    rules: tuple[Rule, ...] = ()
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Self:
        """The recipe that a TOML or JSON table holds; raises RecipeError for what is not one."""
        _known(table, cls, "the recipe")
        recipe = cls(
            **{key: _text(table, key, "the recipe") for key in ("name", "extends", "default", "layer") if key in table},
            roles=tuple(_role(item, place) for item, place in _tables(table, "roles")),
            keep=tuple(Keep(**_match(item, Keep, place)) for item, place in _tables(table, "keep")),
            rules=tuple(
                Rule(type=_text(item, "type", place), **_match(item, Rule, place))
                for item, place in _tables(table, "rules")
            ),
            fallbacks={
                key: _texts(fallbacks, key, "fallbacks")
                for fallbacks in _table(table, "fallbacks")
                for key in fallbacks
            },
        )
        if recipe.layer is not None and _compiled(recipe.layer, "layer").groups != 1:
            raise RecipeError(f"'layer' must have one group, the layer's number, and {recipe.layer!r} has not.")
        return recipe

    def as_table(self) -> dict[str, Any]:
        """Plain JSON data that `parse` reads back to an equal recipe; what is not given is left out."""
        table: dict[str, Any] = _plain(self)
        return table


def parse_toml(text: str) -> Recipe:
    """The recipe that a TOML file holds; raises RecipeError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"The recipe is not TOML: {error}.") from error
    return Recipe.parse(table)


def extend(recipe: Recipe, base: Recipe) -> Recipe:
    """The recipe with `base` behind it: its own rules come first, its own names win."""
    own = {role.name for role in recipe.roles}
    return replace(
        base,
        name=recipe.name or base.name,
        default=recipe.default or base.default,
        layer=recipe.layer or base.layer,
        roles=recipe.roles + tuple(role for role in base.roles if role.name not in own),
        keep=recipe.keep + base.keep,
        rules=recipe.rules + base.rules,
        fallbacks={**base.fallbacks, **recipe.fallbacks},
    )


def _role(item: Mapping[str, Any], place: str) -> Role:
    _known(item, Role, place)
    return Role(
        name=_text(item, "name", place),
        tensors=_patterns(item, place),
        position=_choice(item, "position", get_args(Position), place),
        among=_choice(item, "among", get_args(Among), place),
    )


def _match(item: Mapping[str, Any], cls: type[Any], place: str) -> dict[str, Any]:
    _known(item, cls, place)
    return {
        "tensors": _patterns(item, place) if "tensors" in item else (),
        "roles": _texts(item, "roles", place) if "roles" in item else (),
        "when": _when(next(iter(_table(item, "when")), {}), f"{place}, when"),
    }


def _when(table: Mapping[str, Any], place: str) -> When:
    _known(table, When, place)
    return When(**{key: _condition(table, key, place) for key in table})


def _condition(table: Mapping[str, Any], key: str, place: str) -> Any:
    value = table[key]
    if key == "architectures":
        return _texts(table, key, place)
    if key == "size":
        return _text(table, key, place)
    if key in ("more_bits", "tied", "imatrix", "stacked"):
        if not isinstance(value, bool):
            raise RecipeError(f"In {place}, {key!r} must be true or false, not {value!r}.")
        return value
    if key in ("first", "last") and isinstance(value, str):
        if not re.fullmatch(r"[1-9]\d{0,3}/[1-9]\d{0,3}", value):
            raise RecipeError(
                f'In {place}, {key!r} must be a number of layers or a share such as "1/8", not {value!r}.'
            )
        return value
    if type(value) is not int or value < 0 or (key == "divisible_by" and not value):
        raise RecipeError(f"In {place}, {key!r} must be a whole number, not {value!r}.")
    return value


def _known(table: Mapping[str, Any], cls: type[Any], place: str) -> None:
    names = [item.name for item in fields(cls)]
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names)}."
            raise RecipeError(f"In {place}, {key!r} is not known; {hint}")


def _tables(table: Mapping[str, Any], key: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    items = table.get(key, [])
    if not isinstance(items, list | tuple) or not all(isinstance(item, Mapping) for item in items):
        raise RecipeError(f"{key!r} must be a list of tables, written as [[{key}]].")
    for number, item in enumerate(items, 1):
        yield item, f"{key} {number}"


def _table(table: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], ...]:
    """The table under a key, as a tuple of none or one."""
    if key not in table:
        return ()
    if not isinstance(table[key], Mapping):
        raise RecipeError(f"{key!r} must be a table, not {table[key]!r}.")
    return (table[key],)


def _text(table: Mapping[str, Any], key: str, place: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise RecipeError(f"In {place}, {key!r} must be a string, not {value!r}.")
    return value


def _texts(table: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise RecipeError(f"In {place}, {key!r} must be a list of strings, not {value!r}.")
    return tuple(value)


def _patterns(table: Mapping[str, Any], place: str) -> tuple[str, ...]:
    patterns = _texts(table, "tensors", place)
    for pattern in patterns:
        _compiled(pattern, place)
    return patterns


def _choice(table: Mapping[str, Any], key: str, choices: tuple[Any, ...], place: str) -> Any:
    value = table.get(key, choices[0])
    if value not in choices:
        raise RecipeError(f"In {place}, {key!r} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def _compiled(pattern: str, place: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RecipeError(f"In {place}, {pattern!r} is not a regular expression: {error}.") from error


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        items = ((item.name, getattr(value, item.name)) for item in fields(value))
        return {name: _plain(item) for name, item in items if item not in (None, (), "", {}, When())}
    if isinstance(value, Mapping):
        return {key: list(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
