"""The plugin contract: its version, its mark, what belongs to it, and what of that will go."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import pluggy

API_VERSION = 1
"""The version of the plugin contract. It grows only when a plugin written for the one before may break."""

DECLARATION = "MODELMILL_API"
"""The name in a plugin's module that says which version it was written for: `MODELMILL_API = 1`."""

PUBLIC = (
    "modelmill",
    "modelmill.checkpoint",
    "modelmill.recipe",
    "modelmill.testing",
    *(
        f"modelmill_artifacts.{name}"
        for name in ("canonical", "errors", "evidence", "keys", "manifest", "paths", "release", "signature", "tree")
    ),
)
"""The modules whose public names are the contract; and `modelmill.hookspecs`, whose hooks plugins implement."""

hookimpl = pluggy.HookimplMarker("modelmill")
"""Marks a plugin's function as the implementation of a hook in `modelmill.hookspecs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """A part of the contract that will go: the minor versions that warn first and lack it first, and what to do."""

    since: str
    removed: str
    instead: str


DEPRECATED: Mapping[str, Deprecation] = {}
"""What will go, as `NAME` of `modelmill`, or `RECORD.FIELD`. An entry stands for at least one minor version."""


class ContractWarning(FutureWarning):
    """A plugin uses what will go. A FutureWarning: Python shows it, in a step's log too, without being asked."""


def sentence(name: str) -> str:
    """What a plugin's author is told of a deprecated part of the contract."""
    found = DEPRECATED[name]
    return f"uses {name}, deprecated since modelmill {found.since} and gone in {found.removed}; {found.instead}"


def warn(name: str, stacklevel: int) -> None:
    """Warn whoever uses a deprecated name, `stacklevel` calls above."""
    warnings.warn(sentence(name), ContractWarning, stacklevel=stacklevel + 1)
