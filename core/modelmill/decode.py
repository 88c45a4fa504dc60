"""Tables of plain data → frozen records, with every fault found and none guessed at."""

import difflib
import functools
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar

from modelmill.recipe import Recipe, RecipeError

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at one place of a table; `path` are the keys that lead there."""

    path: tuple[str, ...]
    message: str


class DecodeError(Exception):
    """A table is not what the record needs; `faults` holds everything that is wrong with it."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def suggestion(found: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known word or, where none is near, lists what there is."""
    words = sorted(known)
    same = [word for word in words if word.lower() == found.lower()]
    near = same or difflib.get_close_matches(found, words, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there is {', '.join(words)}" if words else "there is none"


def decode(
    cls: type[Record], table: Mapping[str, Any], path: tuple[str, ...] = (), elsewhere: Collection[str] = ()
) -> Record:
    """Fill a dataclass from a table; raise DecodeError with all unknown keys, missing keys and wrong types.

    Field types may be str, bool, int, float, Literal, optional and tuples of them, mappings of them with
    string keys, Any, Recipe, and further dataclasses. Keys that are read `elsewhere` are known, and left alone.
    """
    hints = _hints(cls)  # type: ignore[arg-type]
    known = {item.name: item for item in fields(cls) if item.init}  # type: ignore[arg-type]
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in elsewhere:
            continue
        if key not in known:
            faults.append(Fault((*path, key), f"unknown key {key!r}; {suggestion(key, {*known, *elsewhere})}"))
            continue
        try:
            values[key] = convert(hints[key], value, (*path, key))
        except DecodeError as error:
            faults.extend(error.faults)
    faults.extend(
        Fault(path, f"{name!r} is missing") for name, item in known.items() if name not in table and _needed(item)
    )
    if faults:
        raise DecodeError(tuple(faults))
    return cls(**values)


def encode(value: Any) -> Any:
    """A record as plain JSON data, such that `decode` gives an equal record."""
    if isinstance(value, Recipe):
        return value.as_table()
    if is_dataclass(value):
        return {item.name: encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _needed(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def convert(hint: Any, value: Any, path: tuple[str, ...]) -> Any:
    """A value as a field's type has it; DecodeError with all that is wrong with it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return convert(inner, value, path)
    if origin is Literal:
        return _literal(arguments, value, path)
    if origin is tuple:
        return _tuple(arguments[0], value, path)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1], value, path)
    if isinstance(hint, type) and issubclass(hint, Recipe):
        return _recipe(value, path)
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(path, "a table", value)
        return decode(hint, value, path)  # type: ignore[arg-type]
    return _scalar(hint, value, path)


def _scalar(hint: Any, value: Any, path: tuple[str, ...]) -> Any:
    words = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    if hint is float and type(value) is int:
        return float(value)
    if hint not in words:
        raise TypeError(f"{'.'.join(path)}: options cannot hold {hint}")
    if type(value) is not hint:
        raise _wrong(path, words[hint], value)
    return value


def _literal(choices: tuple[Any, ...], value: Any, path: tuple[str, ...]) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    names = [str(choice) for choice in choices]
    message = f"{path[-1]!r} cannot be {value!r}; {suggestion(str(value), names)}"
    raise DecodeError((Fault(path, message),))


def _tuple(inner: Any, value: Any, path: tuple[str, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(path, "a list", value)
    return tuple(_all(inner, ((path, item) for item in value)))


def _mapping(inner: Any, value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(path, "a table", value)
    names = [str(key) for key in value]
    found = _all(inner, (((*path, name), item) for name, item in zip(names, value.values(), strict=True)))
    return dict(zip(names, found, strict=True))


def _all(hint: Any, placed: Iterable[tuple[tuple[str, ...], Any]]) -> list[Any]:
    """Each value as its type has it; DecodeError with what is wrong with any of them."""
    found: list[Any] = []
    faults: list[Fault] = []
    for path, value in placed:
        try:
            found.append(convert(hint, value, path))
        except DecodeError as error:
            faults.extend(error.faults)
    if faults:
        raise DecodeError(tuple(faults))
    return found


def _recipe(value: Any, path: tuple[str, ...]) -> Recipe:
    if isinstance(value, Recipe):
        return value
    if not isinstance(value, Mapping):
        raise _wrong(path, "a recipe (a table)", value)
    try:
        return Recipe.parse(value)
    except RecipeError as error:
        raise DecodeError((Fault(path, f"{path[-1]}: {error}"),)) from error


def _wrong(path: tuple[str, ...], wanted: str, value: Any) -> DecodeError:
    kinds = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", list: "a list"}
    found = kinds.get(type(value), "a table" if isinstance(value, Mapping) else type(value).__name__)
    return DecodeError((Fault(path, f"{path[-1]!r} must be {wanted}, not {found} ({value!r})"),))
