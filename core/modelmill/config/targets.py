"""Targets as build.toml writes them → targets with the defaults filled in."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, TypeVar

from modelmill.config.compose import composed_inputs
from modelmill.config.records import Defaults, SourceTable, Target, TargetTable
from modelmill.decode import DecodeError, decode

Record = TypeVar("Record")


def fill(name: str, table: TargetTable, defaults: Defaults) -> Target:
    """A target with what the defaults say where it says nothing; an empty string where neither does."""
    hardware = table.hardware or defaults.hardware or ""
    file = hardware if hardware.endswith(".toml") else None
    return Target(
        name=name,
        source=table.source or defaults.source or "",
        hardware=hardware if file is None else PurePosixPath(file).stem,
        hardware_file=file,
        format=table.format or defaults.format or "",
        scheme=table.scheme or defaults.scheme or "",
        options={**defaults.options, **table.options},
        inputs={**composed_inputs(table, defaults), **defaults.inputs, **table.inputs},
        converter=table.converter,
        quantizer=table.quantizer,
        default=table.default,
    )


def readable_targets(table: Mapping[str, Any]) -> dict[str, Target]:
    """The targets of a file that has faults, with an empty string where a target's own word cannot be read."""
    defaults, _ = _readable(Defaults, table.get("defaults")) or (Defaults(), set())
    found = {}
    for name, item in subtable(table, "target").items():
        if (read := _readable(TargetTable, item)) is not None:
            target, unread = read
            found[name] = _without(unread, fill(name, target, defaults))
    return found


def readable_sources(table: Mapping[str, Any]) -> dict[str, SourceTable]:
    """The sources of a file that has faults, without those whose URI cannot be read."""
    read = {name: _readable(SourceTable, item) for name, item in subtable(table, "source").items()}
    return {name: found[0] for name, found in read.items() if found is not None}


def _without(unread: set[str], target: Target) -> Target:
    """A target that has nothing from the defaults where its own word cannot be read."""
    return replace(
        target,
        hardware="" if "hardware" in unread else target.hardware,
        hardware_file=None if "hardware" in unread else target.hardware_file,
        format="" if "format" in unread else target.format,
        scheme="" if "scheme" in unread else target.scheme,
    )


def subtable(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table within a table; empty where it is none."""
    value = table.get(key)
    return value if isinstance(value, Mapping) else {}


def _readable(cls: type[Record], table: Any) -> tuple[Record, set[str]] | None:
    """A table without the keys that cannot be read, and these; None where it is no table, or lacks what it needs."""
    if not isinstance(table, Mapping):
        return None
    try:
        return decode(cls, table), set()
    except DecodeError as error:
        unread = {fault.path[0] for fault in error.faults if fault.path}
    try:
        return decode(cls, {key: value for key, value in table.items() if key not in unread}), unread
    except DecodeError:
        return None
