"""What a record admits, as a JSON Schema of draft 2020-12."""

import dataclasses
import inspect
import types
import typing
from typing import Annotated, Any

from modelmill_artifacts.record import AtLeast, Pattern

_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number"}


def describe(cls: type[Any], title: str, constants: dict[str, Any]) -> dict[str, Any]:
    """The schema of a document whose root is this record, with some of its keys fixed to one value.

    A schema cannot say all that reading checks: paths that collide, an order, a digest that does not match.
    """
    body = _object(cls)
    for name, value in constants.items():
        body["properties"][name] = {"const": value}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **body}


def _object(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    names = [item.name for item in dataclasses.fields(cls)]
    return {
        "description": " ".join((inspect.getdoc(cls) or "").split()),
        "type": "object",
        "properties": {name: _schema(hints[name]) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _schema(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if origin is Annotated:
        return _constrained(arguments)
    if origin in (types.UnionType, typing.Union):
        inner = next(argument for argument in arguments if argument is not type(None))
        return {"anyOf": [_schema(inner), {"type": "null"}]}
    if origin is not None:
        array = origin is tuple
        inner = _schema(arguments[0] if array else arguments[1])
        return {"type": "array", "items": inner} if array else {"type": "object", "additionalProperties": inner}
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast("type[Any]", hint))
    return {"type": _SCALARS[hint]}


def _constrained(arguments: tuple[Any, ...]) -> dict[str, Any]:
    found = _schema(arguments[0])
    for rule in arguments[1:]:
        if isinstance(rule, Pattern):
            found |= {"pattern": f"^(?:{rule.expression})$", "description": rule.words}
        if isinstance(rule, AtLeast):
            found |= {"minimum": rule.value}
    return found
