"""Which steps of a plan have to run, given what the store holds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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


def too_large(steps: Iterable[Step], memory: int) -> Iterator[str]:
    """A sentence for each step that needs more memory, in bytes, than steps may use."""
    for step in steps:
        if step.estimate.peak_memory > memory:
            yield (
                f"{step.title} needs about {step.estimate.peak_memory / 2**20:,.0f} MiB of memory at its peak, and "
                f"steps may use {memory / 2**20:,.0f} MiB here; run it on a larger machine, or say --memory"
            )
