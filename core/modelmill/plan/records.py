"""The plan as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelmill.config import Target
from modelmill.hardware.fit import Fit
from modelmill.lock import LockedFile, SourceState
from modelmill.registry import Offer
from modelmill.types import Estimate, Facts, Format, Hardware, Lineage, Maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """Those files of a source that a step reads."""

    source: SourceState
    files: tuple[LockedFile, ...]


Origin = Leaf | str
"""Where a step's input comes from: files of a source, or the step of this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One converter or quantizer applied to its inputs.

    `components` is all that its key is made of; `facts` are of its result.
    """

    key: str
    kind: Literal["converter", "quantizer"]
    offer: Offer[Maker[Any]]
    scheme: str
    options: Any
    hardware: Hardware | None
    lineage: Lineage | None
    source: Origin
    inputs: Mapping[str, Origin]
    facts: Facts
    estimate: Estimate
    components: Mapping[str, Any]
    validator: tuple[str, str] | None
    """The module and the name of the format whose owner checks the result."""
    stands_for: str | None = None
    """Of a fused step, the last record of the chain that it replaces; None of any other step."""

    @property
    def title(self) -> str:
        """What people call the step: the chain's word, also where a fused step does it, which says so."""
        if self.stands_for is not None:
            return f"{self.stands_for} {self.scheme} (fused)"
        return f"{self.offer.record.name} {self.scheme}"

    def needs(self) -> tuple[str, ...]:
        """The keys of the steps that it waits for."""
        return tuple(origin for origin in (self.source, *self.inputs.values()) if isinstance(origin, str))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """A target with the steps that make it: the last one's result is its artifact."""

    target: Target
    format: Offer[Format]
    hardware: Hardware
    chain: tuple[str, ...]
    """Keys of the steps on the way from source to artifact; the last is the artifact's."""
    source: SourceState
    inputs: Mapping[str, SourceState]
    fit: Fit | None
    """What the model needs on the device; None where the profile states no memory budget."""

    @property
    def key(self) -> str:
        """The key of the step that makes the artifact's files."""
        return self.chain[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All steps by key, each after those that it needs, and the targets that they are for."""

    steps: Mapping[str, Step]
    targets: tuple[PlannedTarget, ...]
    warnings: tuple[str, ...] = ()

    def behind(self, key: str) -> tuple[str, ...]:
        """The keys of all steps that a step's result follows from, each after those that it needs, itself last."""
        found: dict[str, None] = {}

        def visit(item: str) -> None:
            for earlier in self.steps[item].needs():
                visit(earlier)
            found.setdefault(item, None)

        visit(key)
        return tuple(found)
