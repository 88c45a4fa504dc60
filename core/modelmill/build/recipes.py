"""Options that name a TOML file, with that file's content in its place."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelmill.config import Build
from modelmill.errors import ConfigError


def with_recipes(build: Build) -> tuple[Build, tuple[Path, ...]]:
    """Options that name a TOML file become its content: a step never gets a path. Also the files' paths."""
    base = build.path.absolute().parent
    read_files: list[Path] = []
    targets = {
        name: replace(target, options=_read_recipes(target.options, base, f"target {name!r}", read_files))
        for name, target in build.targets.items()
    }
    return replace(build, targets=targets), tuple(read_files)


def _read_recipes(options: Mapping[str, Any], base: Path, where: str, read_files: list[Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            found[key] = _read_recipes(value, base, where, read_files)
        elif isinstance(value, str) and value.endswith(".toml"):
            read_files.append(base / value)
            try:
                found[key] = tomllib.loads((base / value).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ConfigError(f"{where}: option {key!r} names {value}, which cannot be read: {error}") from error
        else:
            found[key] = value
    return found
