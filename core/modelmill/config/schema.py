"""The JSON Schema of build.toml, made from the records that it is read into, those of plugins' tables included."""

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from modelmill.config import records
from modelmill.config.read import TAG
from modelmill.config.records import NAME
from modelmill.recipe import Recipe
from modelmill.registry import Registry

_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}
_PATTERNS = {("Project", "name"): NAME.pattern, ("Project", "version"): TAG.pattern}


def schema(registry: Registry) -> dict[str, Any]:
    """A schema (draft 2020-12) that refuses unknown keys and wrong types.

    The names that plugins offer are there for editors to complete; other names pass, as another machine may
    have other plugins. The tables that plugins read are those of the plugins that are installed here.
    """
    definitions: dict[str, Any] = {}
    _table(records.Document, definitions, _known(registry))
    root = definitions.pop("Document")
    for name, readers in registry.tables().items():
        kinds = [_value(reader.kind, definitions, {}) for reader in readers]
        root["properties"][name] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "build.toml",
        **root,
        "$defs": definitions,
    }


def _known(registry: Registry) -> dict[str, list[str]]:
    """What plugins offer for a key of a target or of the defaults."""
    schemes = {scheme for offer in registry.formats.all() for scheme in offer.record.schemes}
    return {
        "hardware": list(registry.hardware),
        "format": list(registry.formats),
        "scheme": sorted(schemes),
        "converter": list(registry.converters),
        "quantizer": list(registry.quantizers),
    }


def _table(record: type, definitions: dict[str, Any], known: Mapping[str, list[str]]) -> dict[str, Any]:
    """A reference to the schema of a record, which is added to the definitions. Plugins' records may share a name."""
    own = record.__module__ == records.__name__
    name = record.__name__ if own else f"{record.__module__}.{record.__name__}"
    if name not in definitions:
        definitions[name] = {}
        hints, docs = typing.get_type_hints(record), _field_docs(record)
        properties = {}
        needed = []
        for item in fields(record):
            found = _value(hints[item.name], definitions, known)
            if item.name in docs:
                found = {"description": docs[item.name], **found}
            if (name, item.name) in _PATTERNS:
                found["pattern"] = f"^({_PATTERNS[name, item.name]})$"
            if item.name in known and found.get("type") == "string":
                found = {"anyOf": [{"enum": known[item.name]}, {"type": "string"}]}
            properties[item.name] = found
            if item.default is MISSING and item.default_factory is MISSING:
                needed.append(item.name)
        definitions[name] = {
            "description": _plain(inspect.cleandoc(record.__doc__ or "")),
            "type": "object",
            "properties": properties,
            "required": needed,
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _value(hint: Any, definitions: dict[str, Any], known: Mapping[str, list[str]]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # TOML has no null: what may be None may be left out
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _value(inner, definitions, known)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _value(arguments[0], definitions, known)}
    if origin is not None and issubclass(origin, Mapping):
        inner = _value(arguments[1], definitions, known)
        named = {"propertyNames": {"pattern": f"^({NAME.pattern})$"}} if is_dataclass(arguments[1]) else {}
        return {"type": "object", "additionalProperties": inner or True, **named}
    if hint is Recipe:
        return {"type": "object"}
    if is_dataclass(hint):
        return _table(typing.cast("type", hint), definitions, known)
    return {"type": _KINDS[hint]} if hint in _KINDS else {}


def _field_docs(record: type) -> dict[str, str]:
    """The texts that stand under a record's fields."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(record))).body
    except (OSError, SyntaxError):  # a plugin may come without its source
        return {}
    found = {}
    if isinstance(definition, ast.ClassDef):
        for item, after in zip(definition.body, definition.body[1:], strict=False):
            if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[item.target.id] = _plain(inspect.cleandoc(str(after.value.value)))
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())
