"""Targets, sources and offers → Plan; reads no file and runs nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelmill.config import Target
from modelmill.decode import suggestion
from modelmill.errors import MissingToolError, ModelmillError, PlanError, ToolchainError
from modelmill.hardware import suitability
from modelmill.hardware.fit import Fit, explain, fit
from modelmill.lock import SourceState
from modelmill.plan import keys
from modelmill.plan.compose import Makers, Move
from modelmill.plan.options import check_options
from modelmill.plan.records import Origin, Plan, PlannedTarget, Step
from modelmill.plan.routes import search, usable_makers
from modelmill.plan.steps import Steps
from modelmill.registry import Offer, Registry
from modelmill.types import Facts, Hardware, Maker, Refusal


def plan(
    targets: tuple[Target, ...],
    sources: Mapping[str, SourceState],
    registry: Registry,
    hardware: Mapping[str, Hardware],
    requantize: Mapping[str, bool],
    identify: keys.Identify,
) -> Plan:
    """Plan all targets; raise one PlanError that holds what is wrong with each that cannot be built.

    `identify` gives the part of a key that lies outside build.toml and its sources (see `keys.Identity`), of a record
    and the tools that one step has beyond the record's own; it is called once for each record with the same tools.
    """
    steps = Steps(sources=sources, registry=registry, hardware=hardware, requantize=requantize, identify=identify)
    makers = usable_makers(registry)
    planned: list[PlannedTarget] = []
    faults: list[ModelmillError] = []
    lacking: dict[str, list[str]] = {}
    for target in targets:
        try:
            planned.append(_planned(steps, makers, target))
        except ToolchainError as error:
            faults.append(error)
        except MissingToolError as error:
            lacking.setdefault(str(error), []).append(target.name)
            if len(lacking[str(error)]) == 1:
                faults.append(error)
        except ModelmillError as error:
            faults.append(error)
    told = [f"{_named(lacking[str(fault)])}: {fault}" if str(fault) in lacking else str(fault) for fault in faults]
    if len(faults) == 1:
        raise MissingToolError(told[0]) if lacking else faults[0]
    if faults:
        raise PlanError("\n".join(told))
    needed = steps.chain(tuple(key for item in planned for key in item.chain))
    return Plan(steps=needed, targets=tuple(planned), warnings=tuple(_warnings(planned)))


def _named(targets: list[str]) -> str:
    return f"target{'s' if len(targets) > 1 else ''} {', '.join(repr(name) for name in targets)}"


def _planned(steps: Steps, makers: Makers, target: Target) -> PlannedTarget:
    """Find a target's steps. Raises PlanError."""
    device, wanted = steps.hardware[target.hardware], steps.registry.formats[target.format]
    _check_runtimes(target, device, wanted.record.runtimes)
    source = steps.sources[target.source]
    route = search(source.facts, target, makers, _Attempt(steps=steps, target=target))
    chain = tuple(move.key for move in route)
    needed = steps.chain(chain)
    check_options(target, needed.values())
    _check_inputs(target, route, needed.values())
    last = needed[chain[-1]]
    return PlannedTarget(
        fit=checked_fit(target, device, last.facts, last.estimate.bytes_out),
        target=target,
        format=wanted,
        hardware=device,
        chain=chain,
        source=source,
        inputs={name: steps.sources[item] for name, item in target.inputs.items()},
    )


def checked_fit(target: Target, device: Hardware, facts: Facts, size: int) -> Fit | None:
    """What an artifact of this size needs on the target's device. PlanError where no context at all would fit."""
    found = fit(device, facts, size)
    if found is not None and not found.fits and found.largest_context == 0:
        raise PlanError(f"target {target.name!r}: {explain(found, target.hardware)}")
    return found


def _check_runtimes(target: Target, device: Hardware, loaders: tuple[str, ...]) -> None:
    """Refuse a scheme that every runtime which the profile speaks of, of those for the format, cannot run there."""
    found = suitability.suitability(device, loaders, target.scheme)
    if found is not None and found.verdict == "impossible":
        raise PlanError(f"target {target.name!r}: {suitability.explain(found, target.scheme, target.hardware)}")


def _warnings(planned: Iterable[PlannedTarget]) -> Iterator[str]:
    for item in planned:
        runs = suitability.suitability(item.hardware, item.format.record.runtimes, item.target.scheme)
        if runs is not None and runs.verdict == "slow":
            told = suitability.explain(runs, item.target.scheme, item.target.hardware)
            yield f"target {item.target.name!r}: {told}"
        if item.fit is not None and (not item.fit.fits or item.fit.tight):
            yield f"target {item.target.name!r}: {explain(item.fit, item.target.hardware)}"


def _check_inputs(target: Target, route: tuple[Move, ...], steps: Iterable[Step]) -> None:
    """Every named input is taken by some step."""
    taken = {name for step in steps for name in step.inputs}
    for name in target.inputs:
        if name not in taken:
            known = {item for move in route for item in move.offer.record.inputs}
            raise PlanError(f"target {target.name!r}: no step takes an input {name!r}; {suggestion(name, known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """Tries makers for one target."""

    steps: Steps
    target: Target

    def __call__(
        self, moves: tuple[Move, ...], kind: str, offer: Offer[Maker[Any]], wanted: str | None
    ) -> Move | Refusal:
        if moves:
            origin: Origin = moves[-1].key
            facts = moves[-1].facts
        else:
            origin = self.steps.leaf(self.target.source, offer.record.reads)
            facts = origin.source.facts
        step = self.steps.step(self.target, kind, offer, origin, facts, wanted)
        if isinstance(step, Refusal):
            return step
        return Move(kind=kind, offer=offer, key=step.key, facts=step.facts)
