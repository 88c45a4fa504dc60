"""What differs between two manifests or two release indexes, one change a line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelmill_artifacts import record
from modelmill_artifacts.manifest import Manifest, Step
from modelmill_artifacts.release import Release

_FIELDS = (
    "name",
    "version",
    "target",
    "format",
    "scheme",
    "architecture",
    "parameters",
    "bits_per_weight",
    "licence",
    "usage",
    "notes",
)


MISSING: Final = object()
"""What stands for a key that one of two tables does not have; None may be a key's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not the same: `kind` says of what sort, `name` which one.

    `before` and `after` are JSON values; None stands for what is not there at all. Kinds are `field`, `flag`,
    `hardware`, `file`, `source`, `step`, `tool` and, between indexes, `artifact`.
    """

    kind: str
    name: str
    before: Any
    after: Any


def manifests(before: Manifest, after: Manifest) -> tuple[Change, ...]:
    """Every change from one manifest to another, by kind and name. Equal artifacts give none."""
    parts = {
        "field": ({name: _value(getattr(item, name)) for name in _FIELDS} for item in (before, after)),
        "flag": (record.write(item.flags) for item in (before, after)),
        "hardware": (_hardware(item) for item in (before, after)),
        "file": ({file.path: _file(file) for file in item.files} for item in (before, after)),
        "source": (_sources(item) for item in (before, after)),
        "step": (_steps(item) for item in (before, after)),
        "tool": (_tools(item) for item in (before, after)),
    }
    return tuple(change for kind, (old, new) in parts.items() for change in _changes(kind, old, new))


def releases(before: Release, after: Release) -> tuple[Change, ...]:
    """Every change from one index to another: name, version, and the artifacts that came, went or changed."""
    named = ({"name": item.name, "version": item.version} for item in (before, after))
    entries = ({entry.target: record.write(entry) for entry in item.artifacts} for item in (before, after))
    return (*_changes("field", *named), *_changes("artifact", *entries))


def leaves(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Every place where two JSON values differ, by the keys that lead there; MISSING where one of them has none."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from leaves(before.get(key, MISSING), after.get(key, MISSING), (*path, key))
    elif before != after:
        yield path, before, after


def _changes(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    return [
        Change(kind=kind, name=name, before=before.get(name), after=after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _file(file: Any) -> dict[str, Any]:
    return {"sha256": file.sha256, "size": file.size}


def _hardware(manifest: Manifest) -> dict[str, Any]:
    if manifest.hardware is None:
        return {}
    required: dict[str, Any] = record.write(manifest.hardware.requires)
    return {"profile": manifest.hardware.profile, **required}


def _sources(manifest: Manifest) -> dict[str, Any]:
    """Each source's own words, and each of its files under `NAME: PATH`."""
    found: dict[str, Any] = {}
    for source in manifest.sources:
        name = f"{source.role} {source.name}"
        found[name] = {"uri": source.uri, "revision": source.revision, "licence": source.licence}
        found |= {f"{name}: {file.path}": _file(file) for file in source.files}
    return found


def _steps(manifest: Manifest) -> dict[str, Any]:
    """Each step by its place and name, without its tools, which are told apart."""
    return {f"{number} {step.name}": _step(step) for number, step in enumerate(manifest.steps, 1)}


def _step(step: Step) -> dict[str, Any]:
    return {
        "key": step.key,
        "plugin": f"{step.plugin} {step.plugin_version}",
        "scheme": step.scheme,
        "options": record.write(step.options),
    }


def _tools(manifest: Manifest) -> dict[str, Any]:
    versions: dict[str, set[str]] = {}
    for step in manifest.steps:
        for tool in step.tools:
            versions.setdefault(tool.name, set()).add(tool.version)
    return {name: ", ".join(sorted(found)) for name, found in versions.items()}
