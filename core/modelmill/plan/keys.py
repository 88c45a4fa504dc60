"""The key of a step: one digest over all that may influence its bytes."""

from collections.abc import Callable, Mapping
from typing import Any

from modelmill.decode import encode
from modelmill.plan.records import Leaf, Origin
from modelmill.registry import Offer
from modelmill.types import Maker, Outlook
from modelmill_artifacts import canonical

Identity = Mapping[str, Any]
"""What makes the bytes beside the job: the plugin, the engine's files, the tools, for native ones the platform."""
Identify = Callable[[Offer[Maker[Any]], Mapping[str, str]], Identity]
"""Tells it of a record, and of the tools that one step has beyond the record's own, each with its requirement."""

COVERED = {
    "source": "inputs.source: digests of the files it reads, or the key of the step that makes it",
    "inputs": "inputs.inputs, likewise",
    "scheme": "scheme",
    "options": "options, recipes by content",
    "hardware": "hardware: only the fields that the record names",
    "lineage": "lineage: only for a record that writes it into its result",
}
"""Every field of a Job that enters the key, and where."""

NOT_COVERED = {
    "out": "an empty folder of the engine's choice; the kit runs jobs in different folders and compares",
    "limits": "threads, memory, scratch and timeout may not influence a byte; the kit proves it",
}
"""Every field of a Job that does not enter the key, and why."""


def components(
    *,
    kind: str,
    offer: Offer[Maker[Any]],
    identity: Identity,
    outlook: Outlook[Any],
    source: Origin,
    inputs: Mapping[str, Origin],
) -> dict[str, Any]:
    """All that a step's key is made of, as JSON data that `explain` can compare part by part.

    Of the outlook, whose scheme is settled, that is what the job gets too; facts follow from the inputs.
    """
    hardware = outlook.hardware
    return {
        "inputs": {"source": _origin(source), "inputs": {name: _origin(item) for name, item in inputs.items()}},
        "record": {"kind": kind, "name": offer.record.name, "revision": offer.record.revision},
        **identity,
        "scheme": outlook.scheme,
        "options": encode(outlook.options),
        "hardware": None if hardware is None else dict(hardware.fields),
        "lineage": encode(outlook.lineage),
    }


def key(parts: Mapping[str, Any]) -> str:
    """The key of a step with these components."""
    return canonical.sha256(parts)


def _origin(origin: Origin) -> dict[str, Any]:
    if isinstance(origin, Leaf):
        return {"files": {file.path: file.sha256 for file in origin.files}}
    return {"step": origin}
