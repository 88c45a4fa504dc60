"""The key of a step: one digest over all that may influence its bytes."""

from collections.abc import Mapping
from typing import Any

from modelmill.decode import encode
from modelmill.plan.records import Leaf, Origin
from modelmill.registry import Offer
from modelmill.types import Hardware, Maker
from modelmill_artifacts import canonical

Identity = Mapping[str, Any]
"""What makes the bytes beside the job: the plugin, the engine's files, the tools, for native ones the platform."""

COVERED = {
    "source": "inputs.source: digests of the files it reads, or the key of the step that makes it",
    "inputs": "inputs.inputs, likewise",
    "scheme": "scheme",
    "options": "options, recipes by content",
    "hardware": "hardware: only the fields that the record names",
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
    scheme: str,
    options: Any,
    hardware: Hardware | None,
    source: Origin,
    inputs: Mapping[str, Origin],
) -> dict[str, Any]:
    """All that a step's key is made of, as JSON data that `explain` can compare part by part."""
    return {
        "inputs": {"source": _origin(source), "inputs": {name: _origin(item) for name, item in inputs.items()}},
        "record": {"kind": kind, "name": offer.record.name, "revision": offer.record.revision},
        **identity,
        "scheme": scheme,
        "options": encode(options),
        "hardware": None if hardware is None else dict(hardware.fields),
    }


def key(parts: Mapping[str, Any]) -> str:
    """The key of a step with these components."""
    return canonical.sha256(parts)


def _origin(origin: Origin) -> dict[str, Any]:
    if isinstance(origin, Leaf):
        return {"files": {file.path: file.sha256 for file in origin.files}}
    return {"step": origin}
