"""build.lock as a file: sorted TOML that differs by line when a source differs by file."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from modelmill.decode import DecodeError, decode
from modelmill.errors import ConfigError
from modelmill.lock.records import LockedFile, LockedSource
from modelmill.store.filesystem import write_atomic

VERSION = 1
_HEADER = "# What every source of build.toml resolved to. Written by modelmill; commit it beside build.toml.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    version: int
    source: Mapping[str, Any] = field(default_factory=dict)


def read_lock(path: Path) -> dict[str, LockedSource]:
    """The sources in a lock file, by name; none if there is no file. ConfigError for a file that is not a lock."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path.name}: not readable as a lock ({error}); delete it and run `modelmill lock`"
        ) from error
    try:
        document = decode(_Document, table)
        if document.version != VERSION:
            raise ConfigError(
                f"{path.name}: has version {document.version}, and this modelmill reads {VERSION}; "
                "run `modelmill lock` to write it anew"
            )
        return {name: _source(name, item) for name, item in document.source.items()}
    except DecodeError as error:
        raise ConfigError(f"{path.name}: {error}; delete it and run `modelmill lock`") from error


def _source(name: str, table: Mapping[str, Any]) -> LockedSource:
    known = {key: value for key, value in table.items() if key != "file"}
    optional = {"requested": None, "architecture": None, "scheme": None, "licence": None}
    return decode(LockedSource, {**optional, **known, "name": name, "files": table.get("file", [])})


def write_lock(path: Path, sources: Iterable[LockedSource]) -> None:
    """Write a lock file whole, if it would say anything else than it does."""
    text = dump_lock(sources)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text.encode())


def dump_lock(sources: Iterable[LockedSource]) -> str:
    """The text of a lock file."""
    parts = [_HEADER, f"version = {VERSION}\n"]
    for source in sorted(sources, key=lambda item: item.name):
        parts.append(f"\n[source.{_string(source.name)}]\n")
        for item in fields(LockedSource):
            value = getattr(source, item.name)
            if item.name not in ("name", "files") and value is not None:
                parts.append(f"{item.name} = {_value(value)}\n")
        parts.extend(_file(source.name, file) for file in sorted(source.files, key=lambda item: item.path))
    return "".join(parts)


def _file(name: str, file: LockedFile) -> str:
    return (
        f"\n[[source.{_string(name)}.file]]\n"
        f"path = {_string(file.path)}\nsize = {file.size}\nsha256 = {_string(file.sha256)}\n"
    )


def _value(value: str | int) -> str:
    return _string(value) if isinstance(value, str) else str(value)


def _string(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
