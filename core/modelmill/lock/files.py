"""The lock as a file: sorted TOML that differs by line when a source differs by file."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from modelmill.decode import DecodeError, Fault, decode
from modelmill.errors import ConfigError
from modelmill.lock.records import LockedFile, LockedSource
from modelmill.lock.toolchains import LockedToolchain, Pin
from modelmill.store.filesystem import write_atomic

VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = "# What every source of the build file resolved to. Written by modelmill; commit it beside that file.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """All that a lock file holds, by name."""

    sources: Mapping[str, LockedSource] = field(default_factory=dict)
    toolchains: Mapping[str, LockedToolchain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    version: int
    source: Mapping[str, Any] = field(default_factory=dict)
    toolchain: Mapping[str, Any] = field(default_factory=dict)


def lock_path(file: Path) -> Path:
    """Where the lock of a build file is: beside it, under its name, so that no two build files share one."""
    file = file.absolute()
    return file.with_suffix(".lock") if file.suffix == ".toml" else file.with_name(f"{file.name}.lock")


def lock_command(path: Path, *flags: str) -> str:
    """The command that writes a lock file, as it is typed beside it."""
    named = () if path.name == "build.lock" else ("-f", f"{path.stem}.toml")
    return " ".join(("modelmill lock", *named, *flags))


def read_lock(path: Path) -> Locked:
    """What a lock file holds; nothing if there is no file. ConfigError for a file that is not a lock."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Locked()
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path.name}: not readable as a lock ({error}); delete it and run `{lock_command(path)}`"
        ) from error
    try:
        document = decode(_Document, table)
        if document.version != VERSION:
            raise ConfigError(
                f"{path.name}: has version {document.version}, and this modelmill reads {VERSION}; "
                f"delete it and run `{lock_command(path)}`"
            )
        return Locked(
            sources={name: _source(name, _table(name, item)) for name, item in document.source.items()},
            toolchains={name: _toolchain(name, _table(name, item)) for name, item in document.toolchain.items()},
        )
    except DecodeError as error:
        raise ConfigError(f"{path.name}: {error}; delete it and run `{lock_command(path)}`") from error


def _source(name: str, table: Mapping[str, Any]) -> LockedSource:
    known = {key: value for key, value in table.items() if key != "file"}
    optional = {"requested": None, "architecture": None, "scheme": None, "licence": None}
    found = decode(LockedSource, {**optional, **known, "name": name, "files": table.get("file", [])})
    for file in found.files:
        _check(name, file)
    return found


def _check(source: str, file: LockedFile) -> None:
    """A lock comes from a repository, as build.toml does: no path in it leaves its folder, and a digest is one."""
    path = PurePosixPath(file.path)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in file.path or "\0" in file.path:
        raise _fault(source, f"the file {file.path!r} leaves its folder")
    if not _SHA256.fullmatch(file.sha256) or file.size < 0:
        raise _fault(source, f"the file {file.path!r} has no digest or no size")


def _fault(name: str, message: str) -> DecodeError:
    return DecodeError((Fault((name,), f"{name}: {message}"),))


def _table(name: str, item: Any) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise _fault(name, "is not a table")
    return item


def _toolchain(name: str, table: Mapping[str, Any]) -> LockedToolchain:
    known = {key: value for key, value in table.items() if key != "pin"}
    found = decode(LockedToolchain, {**known, "name": name, "pins": table.get("pin", [])})
    wrong = next((pin for pin in found.pins if not pin.sound), None)
    if wrong is not None:
        raise DecodeError((Fault((name,), f"{name}: {wrong.name!r} {wrong.version!r} is no pinned distribution"),))
    return found


def write_lock(path: Path, locked: Locked) -> None:
    """Write a lock file whole, if it would say anything else than it does."""
    text = dump_lock(locked)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text.encode())


def dump_lock(locked: Locked) -> str:
    """The text of a lock file."""
    parts = [_HEADER, f"version = {VERSION}\n"]
    for _, source in sorted(locked.sources.items()):
        parts.append(f"\n[source.{_string(source.name)}]\n")
        for item in fields(LockedSource):
            value = getattr(source, item.name)
            if item.name not in ("name", "files") and value not in (None, ()):
                parts.append(f"{item.name} = {_value(value)}\n")
        parts.extend(_file(source.name, file) for file in sorted(source.files, key=lambda item: item.path))
    for _, toolchain in sorted(locked.toolchains.items()):
        parts.append(f"\n[toolchain.{_string(toolchain.name)}]\nrequires = {_value(toolchain.requires)}\n")
        parts.extend(_pin(toolchain.name, pin) for pin in toolchain.pins)
    return "".join(parts)


def _pin(toolchain: str, pin: Pin) -> str:
    said = {item.name: getattr(pin, item.name) for item in fields(Pin)}
    lines = [f"{name} = {_value(value)}\n" for name, value in said.items() if value is not None and value != ()]
    return f"\n[[toolchain.{_string(toolchain)}.pin]]\n{''.join(lines)}"


def _file(name: str, file: LockedFile) -> str:
    return (
        f"\n[[source.{_string(name)}.file]]\n"
        f"path = {_string(file.path)}\nsize = {file.size}\nsha256 = {_string(file.sha256)}\n"
    )


def _value(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_string, value))}]"
    return _string(value) if isinstance(value, str) else str(value)


def _string(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
