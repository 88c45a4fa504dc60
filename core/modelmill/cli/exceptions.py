"""What steps' results will hold otherwise than their schemes say, as `plan` and `explain` tell it."""

from collections.abc import Iterator, Mapping, Sequence

from modelmill.cli import show
from modelmill.errors import PluginError
from modelmill.execute import Work
from modelmill.plan import Plan, PlannedTarget, Step


def exceptions(step: Step) -> dict[str, list[str]]:
    """Names by the reason why, from the facts of a step's result. PluginError where they hold something else."""
    found = step.facts.details.get("exceptions", {})
    if not isinstance(found, Mapping) or not all(isinstance(names, list | tuple) for names in found.values()):
        raise PluginError(
            f"{step.offer.plugin}: {step.offer.record.name!r} infers the exceptions {found!r}, which are no lists of "
            "names by reason"
        )
    return {reason: list(names) for reason, names in found.items() if names}


def behind(plan: Plan, planned: PlannedTarget) -> dict[str, dict[str, list[str]]]:
    """Of each step behind a target that makes exceptions, by its title: names by the reason why."""
    steps = [plan.steps[key] for key in plan.behind(planned.key)]
    return {step.title: found for step in steps if (found := exceptions(step))}


def counts(plan: Plan, todo: Work, users: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each step of a plan that makes exceptions, under the title that it runs by.

    `users` are the names of the targets that need each step; of several targets a line says for which it is.
    """
    for key, step in plan.steps.items():
        if number := sum(map(len, exceptions(step).values())):
            title = todo.steps.get(key, step).title
            whose = f" for {', '.join(users[key])}" if len(plan.targets) > 1 else ""
            yield f"{title}{whose}: {show.count(number, 'weight')} not as the scheme says; explain tells why"


def reasons(steps: Mapping[str, Mapping[str, list[str]]]) -> Iterator[str]:
    """Lines that tell why, under a target's own."""
    for title, found in steps.items():
        yield f"  not as the scheme says after {title}:"
        for reason, names in found.items():
            yield f"    {show.count(len(names), 'weight')}: {reason}"
