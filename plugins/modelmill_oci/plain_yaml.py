"""JSON values as YAML in block form, the same bytes every time.

YAML 1.2 takes every JSON string as it is, so strings are JSON strings unless they are plain words that no reader
could take for something else.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9 ._/-]*[A-Za-z0-9]|[A-Za-z]")
_NOT_WORDS = {"y", "n", "yes", "no", "true", "false", "on", "off", "null", "none", "inf", "nan"}


def dumps(value: Mapping[str, Any]) -> str:
    """One document; keys in the order that the mapping has them."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _entry(f"{_scalar(key)}:", item)]
    return [line for item in value for line in _item(item)]


def _entry(head: str, item: Any) -> list[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        return [head, *(f"  {line}" for line in _lines(item))]
    return [f"{head} {_scalar(item)}"]


def _item(item: Any) -> list[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        first, *rest = _lines(item)
        return [f"- {first}", *(f"  {line}" for line in rest)]
    return [f"- {_scalar(item)}"]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_WORDS:
        return value
    return json.dumps(value if not isinstance(value, Mapping | tuple) else (dict(value) if value else {}))
