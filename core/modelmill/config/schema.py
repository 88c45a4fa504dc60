"""The JSON Schema of build.toml, made from the records that it is read into."""

import ast
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from modelmill.config import records
from modelmill.config.read import NAME, TAG
from modelmill.registry import Registry

_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}
_PATTERNS = {("Project", "name"): NAME.pattern, ("Project", "version"): TAG.pattern}


def schema(registry: Registry) -> dict[str, Any]:
    """A schema (draft 2020-12) that refuses unknown keys and wrong types.

    The names that plugins offer are there for editors to complete; other names pass, as another machine may
    have other plugins.
    """
    known = _known(registry)
    docs = _field_docs()
    definitions: dict[str, Any] = {}
    _table(records.Document, definitions, docs, known)
    root = definitions.pop("Document")
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


def _table(
    record: type, definitions: dict[str, Any], docs: Mapping[tuple[str, str], str], known: Mapping[str, list[str]]
) -> dict[str, Any]:
    """A reference to the schema of a record, which is added to the definitions."""
    name = record.__name__
    if name not in definitions:
        definitions[name] = {}
        hints = typing.get_type_hints(record)
        properties = {}
        needed = []
        for item in fields(record):
            found = _value(hints[item.name], definitions, docs, known)
            if (name, item.name) in docs:
                found = {"description": docs[name, item.name], **found}
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


def _value(
    hint: Any, definitions: dict[str, Any], docs: Mapping[tuple[str, str], str], known: Mapping[str, list[str]]
) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # TOML has no null: what may be None may be left out
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _value(inner, definitions, docs, known)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _value(arguments[0], definitions, docs, known)}
    if origin is not None and issubclass(origin, Mapping):
        inner = _value(arguments[1], definitions, docs, known)
        named = {"propertyNames": {"pattern": f"^({NAME.pattern})$"}} if is_dataclass(arguments[1]) else {}
        return {"type": "object", "additionalProperties": inner or True, **named}
    if is_dataclass(hint):
        return _table(typing.cast("type", hint), definitions, docs, known)
    return {"type": _KINDS[hint]} if hint in _KINDS else {}


def _field_docs() -> dict[tuple[str, str], str]:
    """The texts that stand under the fields of the records, by class and field."""
    found = {}
    for node in ast.parse(inspect.getsource(records)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for item, after in zip(node.body, node.body[1:], strict=False):
            if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[node.name, item.target.id] = _plain(inspect.cleandoc(str(after.value.value)))
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())
