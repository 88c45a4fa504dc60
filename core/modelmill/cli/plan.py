"""`modelmill plan`: what a build would do."""

from pathlib import Path
from typing import Any

import click

from modelmill.build.make import outstanding
from modelmill.build.prepare import prepare
from modelmill.build.sign import key_warnings
from modelmill.build.why import why
from modelmill.cli import exceptions, options, show
from modelmill.cli.explain import why_document, why_text
from modelmill.cli.fetching import fetching
from modelmill.execute import Work, too_large
from modelmill.execute.machine import memory
from modelmill.plan import Plan, Step
from modelmill.store import Store, store_folder


@click.command()
@options.targets
@options.build_file
@click.option("--locked", is_flag=True, help="Refuse a lock that does not stand for the sources.")
@click.option("--why", "with_why", is_flag=True, help="And why each target would be built again.")
@options.offline
@options.as_json
def command(
    names: tuple[str, ...],
    everything: bool,
    file: Path,
    store_path: Path | None,
    locked: bool,
    with_why: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Show the steps that targets need, their predicted sizes, and which are in the store already."""
    store = Store(store_folder(store_path), show.warn)
    with fetching(quiet=as_json) as note:
        prepared = prepare(
            file,
            store,
            names,
            everything=everything,
            lock="refuse" if locked else "look",
            offline=offline,
            told=show.quietly if as_json else show.tell,
            note=note,
        )
    todo = outstanding(prepared)
    keys = key_warnings(prepared.build, prepared.registry)
    for warning in (*keys, *prepared.plan.warnings, *too_large(todo.steps.values(), memory())):
        show.warn(warning)
    found = why(prepared, todo) if with_why else ()
    store.index.save()
    if as_json:
        told = {"why": [why_document(item) for item in found]} if with_why else {}
        show.document({**plan_document(prepared.plan, todo), **told})
    else:
        click.echo(plan_text(prepared.plan, todo))
        if with_why:
            click.echo(f"\n{why_text(found)}")


def plan_text(plan: Plan, todo: Work) -> str:
    """The plan as a table of steps and one of targets."""
    users: dict[str, list[str]] = {key: [] for key in plan.steps}
    for planned in plan.targets:
        for key in plan.behind(planned.key):
            users[key].append(planned.target.name)
    rows = []
    for key, planned_step in plan.steps.items():
        step = todo.steps.get(key, planned_step)
        rows.append(
            (
                step.title,
                _state(step, todo),
                show.size(step.estimate.bytes_out),
                show.size(step.estimate.peak_memory),
                show.seconds(step.estimate.seconds) if key in todo.steps else "",
                ", ".join(users[key]),
            )
        )
    to_run = list(todo.steps.values())
    written = show.size(sum(step.estimate.bytes_out for step in to_run))
    targets, steps = show.count(len(plan.targets), "target"), show.count(len(plan.steps), "step")
    head = f"{targets}, {steps}, {len(to_run)} to run, writing {written}"
    table = show.table(("step", "store", "writes", "memory", "core time", "for"), rows)
    told = "\n".join(exceptions.counts(plan, todo, users))
    return "\n\n".join(part for part in (head, table, told) if part)


def plan_document(plan: Plan, todo: Work) -> dict[str, Any]:
    """The plan as JSON data."""
    return {
        "steps": [
            {
                "key": key,
                "name": step.offer.record.name,
                "scheme": step.scheme,
                "plugin": str(step.offer.plugin),
                "needs": list(step.needs()),
                "state": _state(step, todo),
                "bytes_out": step.estimate.bytes_out,
                "peak_memory": step.estimate.peak_memory,
                "seconds": round(step.estimate.seconds, 3),
                "exceptions": exceptions.exceptions(step),
            }
            for key, step in plan.steps.items()
        ],
        "targets": [
            {
                "name": planned.target.name,
                "format": planned.target.format,
                "scheme": planned.target.scheme,
                "hardware": planned.target.hardware,
                "steps": list(planned.chain),
            }
            for planned in plan.targets
        ],
    }


def _state(step: Step, todo: Work) -> str:
    if step.key in todo.steps:
        return "to run"
    return "cached" if step.key in todo.results else "not needed"
