"""Frozen records from JSON values and back, refusing whatever a record does not say."""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from modelmill_artifacts.errors import ArtifactError

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A string's regular expression, matched against the whole of it, and the words for it."""

    expression: str
    words: str


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A number's smallest value."""

    value: int


Sha256 = Annotated[str, Pattern("[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
Text = Annotated[str, Pattern(r"[^\x00-\x1f\x7f]+", "one line of text that is not empty")]
Size = Annotated[int, AtLeast(0)]

_WORDS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


def read(cls: type[Record], value: Any, where: str, *, defaults: bool = False) -> Record:
    """Fill a dataclass from a JSON object; with `defaults`, a key may be missing where the record has a default.

    Raises ArtifactError for an unknown key, a missing key and a wrong type, its sentence opened by `where`
    and the place in the document.
    """
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = typing.get_type_hints(cls, include_extras=True)
    known = {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            clause = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known)}"
            raise ArtifactError(f"{where}: unknown key {key!r}; {clause}")
    for name, item in known.items():
        if name not in value and (not defaults or item.default is dataclasses.MISSING):
            raise ArtifactError(f"{where}: {name!r} is missing")
    return cls(**{name: _value(hints[name], value[name], f"{where}: {name}") for name in known if name in value})


def write(value: Any) -> Any:
    """A record as a JSON value, such that `read` gives an equal record; defaults are written too."""
    if dataclasses.is_dataclass(value):
        return {item.name: write(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: write(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [write(item) for item in value]
    return value


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return _constrained(arguments, value, where)
    if origin in (types.UnionType, typing.Union):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _value(inner, value, where)
    if origin is not None:
        return _container(origin, arguments, value, where)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast("type[Any]", hint), value, where)
    if type(value) is not hint:
        raise _wrong(where, _WORDS[hint], value)
    return value


def _container(origin: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "an array", value)
        return tuple(_value(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return {key: _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}


def _constrained(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    value = _value(arguments[0], value, where)
    for rule in arguments[1:]:
        if isinstance(rule, Pattern) and not re.fullmatch(rule.expression, value):
            raise _wrong(where, rule.words, value)
        if isinstance(rule, AtLeast) and value < rule.value:
            raise _wrong(where, f"{rule.value} or more", value)
    return value


def _wrong(where: str, wanted: str, value: Any) -> ArtifactError:
    shown = repr(value)
    return ArtifactError(f"{where}: must be {wanted}, not {shown if len(shown) < 80 else shown[:77] + '...'}")  # noqa: PLR2004
