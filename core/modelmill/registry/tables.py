"""The tables of build.toml that plugins read: whose each is, and the options that it fills."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_type_hints

from modelmill.decode import DecodeError, Fault, convert
from modelmill.errors import ModelmillError, PluginError
from modelmill.types import Packager, Remote

OWN = ("project", "source", "target", "defaults", "sign", "policy")
"""build.toml's own keys, which are no plugin's to take: the fields of `config.records.Document`, a layer above."""

_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads a table of build.toml, such as "letters 1.0: the packager 'zip'", and the type that it becomes."""

    who: str
    kind: Any


def table_fault(record: Any) -> str | None:
    """What is wrong with the tables that a packager or a remote reads, as the end of a sentence about its plugin.

    A remote may look into build.toml's own tables; a packager's options are of a table that is not one of them.
    """
    if not isinstance(record, Packager | Remote):
        return None
    where = f"offers the {_title(record)} with"
    try:
        hints = get_type_hints(record.options)
        needed = [item.name for item in fields(record.options) if item.default is item.default_factory is MISSING]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the plugin's
        return f"{where} options that no table can fill: {type(error).__name__}: {error}"
    for table in _tables(record):
        if not _NAME.fullmatch(table):
            return f"{where} the table {table!r}, whose name is not small letters and digits, joined by '-' or '_'"
        if isinstance(record, Packager) and table in OWN:
            return f"{where} the table {table!r}, which is a key of build.toml's own; it needs another name"
        if isinstance(record, Remote) and table not in hints:
            return f"{where} the table {table!r}, and its options have no field {table!r}"
    if isinstance(record, Packager) and not record.table and needed:
        return f"{where} the option {needed[0]!r}, which has no default, and with no table that says it"
    return None


def readers(offers: Iterable[tuple[Any, Any]]) -> dict[str, tuple[Reader, ...]]:
    """By the table, all that read it in ways of their own, of these records and the plugins that offer them."""
    found: dict[str, tuple[Reader, ...]] = {}
    for record, plugin in offers:
        for table in _tables(record):
            if table in OWN:
                continue
            new, known = reader(record, plugin, table), found.get(table, ())
            if not any(item.kind == new.kind for item in known):
                found[table] = (*known, new)
    return found


def reader(record: Packager[Any] | Remote[Any], plugin: object, table: str) -> Reader:
    """A packager, whose options a table fills; or a remote, of whose options a table fills the field of its name."""
    kind = record.options if isinstance(record, Packager) else get_type_hints(record.options)[table]
    return Reader(who=f"{plugin}: the {_title(record)}", kind=kind)


def fill(found: Reader, name: str, table: Any) -> Any:
    """What a table becomes for its reader. DecodeError with all that is wrong; PluginError where the reader is."""
    try:
        return convert(found.kind, table, (name,))
    except DecodeError:
        raise
    except ModelmillError as error:  # what the options themselves say of values that do not go together
        raise DecodeError((Fault((name,), str(error)),)) from error
    except Exception as error:
        raise PluginError(f"{found.who} fails to read [{name}]: {type(error).__name__}: {error}") from error


def _tables(record: Packager[Any] | Remote[Any]) -> Iterator[str]:
    if isinstance(record, Remote):
        yield from record.tables
    elif record.table:
        yield record.table


def _title(record: Packager[Any] | Remote[Any]) -> str:
    return f"remote {record.scheme!r}" if isinstance(record, Remote) else f"packager {record.name!r}"
