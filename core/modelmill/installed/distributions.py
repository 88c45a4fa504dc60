"""Installed distributions that have a part in a step, with all that they require here."""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.errors import MissingToolError
from modelmill.store import StatIndex

_NATIVE = (".so", ".dylib", ".pyd")
_LICENCE = ("License-Expression", "License")
_SHORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """An installed distribution that has a part in a step: `digest` is over the digests of its files."""

    name: str
    version: str
    digest: str
    licence: str | None
    native: bool
    requires: tuple[str, ...]


def closure(named: Mapping[str, str], index: StatIndex) -> tuple[Tool, ...]:
    """The named distributions and all that they require here, by name; each is named with what to install for it.

    Raises MissingToolError, with the command that installs it, if one is not installed. What is learnt of a
    distribution is kept while its RECORD is the same: reading that of fifty takes a second.
    """
    found: dict[str, Tool] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in named]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        known = _known(name, extras, index)
        if known is None:
            raise MissingToolError(f"{name} is not installed; run: pip install '{named.get(name) or name}'")
        if name not in found:
            required = known if not extras else _known(name, (), index) or known
            present = {item for item, _ in required["requires"] if _distribution(item) is not None}
            found[name] = Tool(
                name=name,
                version=known["version"],
                digest=known["digest"],
                licence=known["licence"],
                native=known["native"],
                requires=tuple(sorted(present)),
            )
        # One that is required but missing is passed over: pip has said so, and a tool that runs without it is
        # not made by it.
        waiting.extend((item, tuple(more)) for item, more in known["requires"] if _distribution(item) is not None)
    return tuple(found[name] for name in sorted(found))


@functools.cache
def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _known(name: str, extras: tuple[str, ...], index: StatIndex) -> dict[str, Any] | None:
    """What is known of a distribution, installed with these extras."""
    distribution = _distribution(name)
    if distribution is None:
        return None
    folder = getattr(distribution, "_path", None)  # where its metadata lies; there is no public word for it
    record = Path(str(folder)) / "RECORD"
    if folder is None or not record.is_file():
        return _read(distribution, extras)
    text = index.derived(
        record, f"distribution[{','.join(extras)}] ", lambda _: json.dumps(_read(distribution, extras))
    )
    known: dict[str, Any] = json.loads(text)
    return known


def _read(distribution: importlib.metadata.Distribution, extras: tuple[str, ...]) -> dict[str, Any]:
    native = False
    record = []
    for line in (distribution.read_text("RECORD") or "").splitlines():
        path, _, rest = line.partition(",")
        if _counts(path):
            record.append(f"{path},{rest}")
            native = native or path.endswith(_NATIVE) or ".so." in path
    metadata = distribution.metadata
    return {
        "version": distribution.version,
        "digest": hashlib.sha256("\n".join(sorted(record)).encode()).hexdigest(),
        "licence": stated_licence(*(next(iter(metadata.get_all(name, ())), None) for name in _LICENCE)),
        "native": native,
        "requires": _requires(distribution, extras),
    }


def _requires(distribution: importlib.metadata.Distribution, extras: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """What a distribution requires on this machine: names and their extras."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found = []
    for text in distribution.requires or ():
        requirement = Requirement(text)
        environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if requirement.marker and not any(requirement.marker.evaluate(item) for item in environments):
            continue
        found.append((str(canonicalize_name(requirement.name)), sorted(requirement.extras)))
    return found


def _counts(path: str) -> bool:
    """Whether a file of a distribution is the same wherever it is installed: scripts carry the interpreter's path."""
    if path.startswith("..") or path.endswith(".pyc"):
        return False
    return path.rpartition("/")[2] not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def stated_licence(expression: str | None, text: str | None) -> str | None:
    """The licence as a distribution's metadata states it, if it does so in a word or two."""
    stated = expression or text
    return stated if stated and "\n" not in stated and len(stated) <= _SHORT else None
