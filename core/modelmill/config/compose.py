"""What a target puts into its model (an adapter, a chat template, a generation config) as sources and inputs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelmill.config.records import COMPOSED, Defaults, Document, SourceTable, TargetTable
from modelmill.decode import Fault, suggestion

_FILES = ("chat_template", "generation_config")
"""Keys that may name a file, which is then a source of its own: locked and looked at as any other."""


def composed_inputs(table: TargetTable, defaults: Defaults) -> dict[str, str]:
    """The inputs that a target's keys stand for, in the order in which they are put into the model.

    An empty string takes back what the defaults say.
    """
    found = {}
    for key in COMPOSED:
        said = getattr(table, key)
        value = getattr(defaults, key) if said is None else said
        if value:
            found[key] = _source_name(value)
    return found


def file_sources(document: Document) -> dict[str, SourceTable]:
    """A source for each file that is named where a source could be."""
    places: Iterable[TargetTable | Defaults] = (document.defaults, *document.target.values())
    return {
        _source_name(value): SourceTable(uri=value, format=COMPOSED[key])
        for place in places
        for key in _FILES
        if (value := getattr(place, key)) and value not in document.source
    }


def reference_faults(path: tuple[str, ...], table: Mapping[str, Any], sources: Mapping[str, Any]) -> list[Fault]:
    """Names that are neither a source nor, where one may stand, a file."""
    faults = []
    for key in COMPOSED:
        value = table.get(key)
        if not isinstance(value, str) or not value or value in sources:
            continue
        if key not in _FILES or not _is_file(value):
            faults.append(Fault((*path, key), f"unknown source {value!r}; {suggestion(value, sources)}"))
        elif (name := _source_name(value)) in sources:
            faults.append(Fault((*path, key), f"the file {value!r} would be a source {name!r}, which is another one"))
    return faults


def _is_file(value: str) -> bool:
    """Whether a word is meant as a file and not as the name of a source: it has a suffix, or a folder before it."""
    return "." in value or "/" in value


def _source_name(value: str) -> str:
    """What a file is called as a source: its path, as far as that is a legal name."""
    return re.sub(r"[^a-z0-9._-]+", "-", value.lower()).lstrip("._-") or value
