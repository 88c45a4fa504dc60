"""Which steps of a plan have to run, given what the store holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelmill.plan import Plan, Step
from modelmill.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The steps that have to run, each after those it needs, and the results that are there already."""

    steps: Mapping[str, Step]
    results: Mapping[str, Result]


def work(plan: Plan, wanted: tuple[str, ...], result: Callable[[str], Result | None]) -> Work:
    """From the wanted keys backwards: a step whose result is there needs nothing that leads to it."""
    found: dict[str, Result] = {}
    missing: set[str] = set()

    def visit(key: str) -> None:
        if key in found or key in missing:
            return
        known = result(key)
        if known is not None:
            found[key] = known
            return
        missing.add(key)
        for earlier in plan.steps[key].needs():
            visit(earlier)

    for key in wanted:
        visit(key)
    return Work(steps={key: step for key, step in plan.steps.items() if key in missing}, results=found)
