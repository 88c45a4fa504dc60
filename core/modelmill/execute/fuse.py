"""Which pairs of steps one fused record does in one go, where that costs less than a shared step between them."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from modelmill.execute.needs import Work
from modelmill.plan import Leaf, Plan, Step
from modelmill.registry import Offer, Registry
from modelmill.types import Facts, Maker, Outlook, Refusal


def fuse(plan: Plan, work: Work, wanted: frozenset[str], registry: Registry) -> Work:
    """The same work with fused steps in the place of chains, where every user of the step between is fused too.

    A fused step keeps its key and the components of its record: nobody can tell it from the chain by its result.
    """
    steps = dict(work.steps)
    for first in list(steps.values()):
        users = [step for step in steps.values() if first.key in step.needs()]
        if first.key in wanted or not users:
            continue
        fused = [_fused(plan, first, user, registry) for user in users]
        taken = [step for step in fused if step is not None]
        shared = first.estimate.seconds + sum(user.estimate.seconds for user in users)
        if len(taken) == len(users) and sum(step.estimate.seconds for step in taken) < shared:
            del steps[first.key]
            steps |= {step.key: step for step in taken}
    return replace(work, steps=steps)


def _fused(plan: Plan, first: Step, second: Step, registry: Registry) -> Step | None:
    """The step that does both, if a record does and does not refuse."""
    if second.source != first.key or first.key in second.inputs.values():
        return None
    for kind, offer in _replacing(registry, first, second):
        options = _options(offer.record, first, second)
        inputs = {**first.inputs, **second.inputs}
        if options is None or not set(inputs) <= set(offer.record.inputs):
            continue
        outlook = Outlook(
            facts=_facts(plan, first.source),
            scheme=second.scheme,
            options=options,
            inputs={name: _facts(plan, origin) for name, origin in inputs.items()},
            lineage=first.lineage or second.lineage,
        )
        found = offer.record.infer(outlook)
        if isinstance(found, Refusal):
            continue
        estimate = offer.record.estimate(outlook, found)
        return replace(
            second,
            kind=kind,
            offer=offer,
            options=options,
            hardware=None,
            lineage=first.lineage or second.lineage,
            source=first.source,
            inputs=inputs,
            estimate=estimate,
            stands_for=second.offer.record.name,
        )
    return None


def _replacing(registry: Registry, first: Step, second: Step) -> Iterator[tuple[Any, Offer[Maker[Any]]]]:
    parts = (first.offer.record, second.offer.record)
    chain = tuple(part.name for part in parts)
    # What the chain writes of the model's lineage, one record must write too.
    uses_lineage = any(part.uses_lineage for part in parts)
    for kind, offer in registry.makers():
        record = offer.record
        if record.replaces == chain and not record.uses_hardware and record.uses_lineage == uses_lineage:
            yield kind, offer


def _facts(plan: Plan, origin: Leaf | str) -> Facts:
    return origin.source.facts if isinstance(origin, Leaf) else plan.steps[origin].facts


def _options(record: Maker[Any], first: Step, second: Step) -> Any:
    """Both steps' options in one record; None where one of them says what the fused record has no word for."""
    known = {item.name for item in fields(record.options)}
    said = (_said(first.options), _said(second.options))
    if ({item.name for item in fields(second.options)} - said[1].keys()) & said[0].keys():
        return None  # what was said of the result between would be taken as said of the last one
    table: dict[str, Any] = {}
    for options in said:
        for name, value in options.items():
            if name not in known or table.get(name, value) != value:
                return None
            table[name] = value
    return record.options(**table)


def _said(options: Any) -> Mapping[str, Any]:
    """The options that are not at their defaults."""
    said = {}
    for item in fields(options):
        value = getattr(options, item.name)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if value != default:
            said[item.name] = value
    return said
