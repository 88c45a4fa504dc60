"""Options that name a TOML file, with that file's content in its place."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelmill.config import Build, faults_error
from modelmill.decode import Fault
from modelmill.errors import ConfigError


def with_recipes(build: Build) -> tuple[Build, tuple[Path, ...]]:
    """Options that name a TOML file become its content: a step never gets a path. Also the files' paths.

    Raises ConfigError with every file that cannot be read.
    """
    base = build.path.absolute().parent
    named = {
        (("target", name, "options", *keys), value)
        for name, target in build.targets.items()
        for keys, value in _named(target.options)
    }
    read: dict[str, dict[str, Any]] = {}
    faults = []
    for path, value in sorted(named):
        try:
            read[value] = _read(base / value)
        except ConfigError as error:
            faults.append(Fault(path, f"option {path[-1]!r} names {value}, which {error}"))
    if faults:
        raise faults_error(build.path, build.text, faults)
    targets = {
        name: replace(target, options=_with_content(target.options, read)) for name, target in build.targets.items()
    }
    return replace(build, targets=targets), tuple(base / value for value in read)


def _named(options: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The files that options name, each with the keys that lead there."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from (((key, *keys), file) for keys, file in _named(value))
        elif isinstance(value, str) and value.endswith(".toml"):
            yield (key,), value


def _read(path: Path) -> dict[str, Any]:
    """The table of a TOML file. ConfigError, the end of a sentence, where there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not valid TOML: {error}") from error


def _with_content(options: Mapping[str, Any], read: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            found[key] = _with_content(value, read)
        else:
            found[key] = read.get(value, value) if isinstance(value, str) else value
    return found
