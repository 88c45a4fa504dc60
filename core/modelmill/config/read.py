"""build.toml → Build, or one error that holds every fault with its line."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelmill.config.check import name_faults
from modelmill.config.compose import file_sources, reference_faults
from modelmill.config.faults import faults_error
from modelmill.config.records import NAME, Build, Document
from modelmill.config.targets import fill, readable_sources, readable_targets, subtable
from modelmill.decode import DecodeError, Fault, decode, suggestion
from modelmill.errors import ConfigError
from modelmill.registry import Reader, Registry
from modelmill.registry import fill as fill_table
from modelmill_artifacts import licence

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LIMIT = 16 << 20


def read(path: Path, registry: Registry) -> Build:
    """Read a build file; ConfigError if it cannot be read or is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; `modelmill init` writes one, --file names another") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > _LIMIT:
        raise ConfigError(f"{path}: larger than 16 MiB, so it is no build file")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path.name}:{line}: not UTF-8 text; save the file as UTF-8") from error
    return parse(text, path, registry)


def parse(text: str, path: Path, registry: Registry) -> Build:
    """Parse a build file's text; ConfigError with all faults, a line each, also of the tables that plugins read.

    With them come the names that no plugin offers (see `check_names`), as far as the file can be read.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(_syntax(text, path, error)) from error
    readers = registry.tables()
    tables = {name: value for name, value in table.items() if name in readers}
    found = [fault for name, value in tables.items() for fault in _table_faults(readers[name], name, value)]
    try:
        document = decode(Document, table, elsewhere=readers)
        found += _semantic_faults(table, document)
    except DecodeError as error:
        found += [*error.faults, *_semantic_faults(table, None)]
    if found:
        found += name_faults(path, readable_targets(table), readable_sources(table), registry)
        raise faults_error(path, text, found)
    return Build(
        path=path,
        text=text,
        project=document.project,
        sources={**document.source, **file_sources(document)},
        targets={name: fill(name, item, document.defaults) for name, item in document.target.items()},
        sign=document.sign,
        policy=document.policy,
        tables=tables,
    )


def _syntax(text: str, path: Path, error: Exception) -> str:
    match = re.search(r"\(at line (\d+), column \d+\)", str(error))
    line = int(match.group(1)) if match else text.count("\n") + 1
    reason = re.sub(r" \(at .*\)$", "", str(error)) or "nested too deeply"
    return f"{path.name}:{line}: not valid TOML: {reason}"


def _table_faults(readers: Iterable[Reader], name: str, table: Any) -> list[Fault]:
    """What is wrong with a table that plugins read. One that several read is good where it is good for any of them.

    Where it is good for none, it was meant for the one that finds least in it.
    """
    found: list[tuple[Fault, ...]] = []
    for reader in readers:
        try:
            fill_table(reader, name, table)
        except DecodeError as error:
            found.append(error.faults)
        else:
            return []
    nearest = min(found, key=len)
    return list(nearest)


def _semantic_faults(table: Mapping[str, Any], document: Document | None) -> list[Fault]:
    """Faults that a type cannot show. Also found in a file that has other faults, as far as it can be read."""
    faults = []
    project = subtable(table, "project")
    name, version = project.get("name"), project.get("version")
    if isinstance(name, str) and not NAME.fullmatch(name):
        faults.append(
            Fault(("project", "name"), f"{name!r} is not a name: lower-case letters, digits, '.', '_' and '-' only")
        )
    if isinstance(version, str) and not TAG.fullmatch(version):
        faults.append(
            Fault(
                ("project", "version"),
                f"{version!r} is not a version: letters, digits, '.', '_' and '-', at most 128, as an OCI tag",
            )
        )
    stated: list[tuple[tuple[str, ...], Any]] = [(("project",), project)]
    stated += [(("source", key), item) for key, item in subtable(table, "source").items()]
    faults += [
        Fault((*path, "license"), wrong)
        for path, item in stated
        if isinstance(item, Mapping) and isinstance(item.get("license"), str)
        if (wrong := licence.fault(item["license"])) is not None
    ]
    for kind in ("target", "source"):
        faults.extend(
            Fault((kind, key), f"{key!r} is not a name for a {kind}: lower-case letters, digits, '.', '_', '-'")
            for key in subtable(table, kind)
            if not NAME.fullmatch(key)
        )
    faults.extend(_reference_faults(table))
    if document is not None:
        faults.extend(_missing_faults(document))
        if document.sign.mode == "none" and document.sign.key is not None:
            faults.append(Fault(("sign", "key"), 'a key is named, but mode = "none" signs nothing; drop one of them'))
    return faults


def _reference_faults(table: Mapping[str, Any]) -> list[Fault]:
    """Sources that are named and not there."""
    sources = subtable(table, "source")
    places: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [(("defaults",), subtable(table, "defaults"))]
    places += [
        (("target", name), item) for name, item in subtable(table, "target").items() if isinstance(item, Mapping)
    ]
    faults = []
    for path, item in places:
        named: dict[tuple[str, ...], Any] = {(*path, "source"): item.get("source")}
        inputs = item.get("inputs")
        if isinstance(inputs, Mapping):
            named |= {(*path, "inputs", key): value for key, value in inputs.items()}
        faults += [
            Fault(place, f"unknown source {value!r}; {suggestion(value, sources)}")
            for place, value in named.items()
            if isinstance(value, str) and value not in sources
        ]
        faults += reference_faults(path, item, sources)
    return faults


def _missing_faults(document: Document) -> list[Fault]:
    """What a target needs and neither says itself nor has from the defaults."""
    faults = []
    if not document.target:
        faults.append(Fault((), "there is no [target.NAME] table, so there is nothing to build"))
    for name, target in document.target.items():
        faults += [
            Fault(("target", name), f"target {name!r} has no {key!r}, and [defaults] has none")
            for key in ("source", "hardware", "format", "scheme")
            if not (getattr(target, key) or getattr(document.defaults, key))
        ]
    return faults
