"""Whether what a plugin offers is the record that it should be, field by field."""

import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Literal, TypeVar


def problem(offer: object, record: type[Any]) -> str | None:
    """What is wrong with an offer that should be a `record`, as the end of a sentence about its plugin; or None.

    Python checks no types, and a record with a string for a tuple would fail far from the plugin that made it.
    """
    if not isinstance(offer, record):
        return f"offers {type(offer).__name__} where a {record.__name__} is wanted"
    for name, hint in _hints(record).items():  # type: ignore[arg-type]
        value = getattr(offer, name)
        if not _holds(hint, value):
            title = getattr(offer, "name", None) or getattr(offer, "scheme", None)
            return (
                f"offers the {record.__name__} {title!r} whose {name!r} is {value!r:.40}; it should be {_written(hint)}"
            )
    return None


@functools.cache
def _hints(record: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {item.name: hints[item.name] for item in fields(record)}


def _holds(hint: Any, value: object) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_holds(argument, value) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is Callable:
        return callable(value)
    if origin is tuple:
        return isinstance(value, tuple) and all(_holds(arguments[0], item) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_holds(arguments[1], item) for item in value.values())
    wanted = origin or hint
    return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


def _written(hint: Any) -> str:
    origin = typing.get_origin(hint)
    words = {Callable: "a function", type: "a class", Mapping: "a mapping", tuple: "a tuple"}
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_written(argument) for argument in typing.get_args(hint))
    if hint is type(None):
        return "None"
    return words.get(origin, getattr(hint, "__name__", str(hint)))
