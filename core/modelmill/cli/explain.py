"""`modelmill explain`: why a target would be built again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from modelmill.build.make import outstanding
from modelmill.build.prepare import prepare
from modelmill.build.why import Why, why
from modelmill.cli import exceptions, options, show
from modelmill.decode import encode
from modelmill.store import Store, store_folder


@click.command()
@options.targets
@options.build_file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Instead of dist/ beside the build file.")
@options.as_json
def command(
    names: tuple[str, ...], everything: bool, file: Path, store_path: Path | None, output: Path | None, as_json: bool
) -> None:
    """Say why targets would be built again: which file, option, tool or plugin changed since the last build.

    And why some weights will not be as the target's scheme says.
    """
    store = Store(store_folder(store_path), show.warn)
    prepared = prepare(file, store, names, everything=everything, told=show.quietly if as_json else show.tell)
    found = why(prepared, outstanding(prepared), output)
    store.index.save()
    apart = [exceptions.behind(prepared.plan, planned) for planned in prepared.plan.targets]
    if as_json:
        told = [{**why_document(item), "exceptions": steps} for item, steps in zip(found, apart, strict=True)]
        show.document({"targets": told})
        return
    for item, steps in zip(found, apart, strict=True):
        click.echo("\n".join((*_lines(item), *exceptions.reasons(steps))))


def why_text(found: tuple[Why, ...]) -> str:
    """What would happen to each target and why, for people."""
    return "\n".join(line for item in found for line in _lines(item))


def why_document(item: Why) -> dict[str, Any]:
    """The same as JSON data."""
    return {**encode(item), "up_to_date": item.up_to_date, "text": list(_lines(item))}


def _lines(item: Why) -> Iterator[str]:
    if item.up_to_date:
        yield f"{item.target}: up to date"
        return
    run = f"{len(item.to_run)} to run ({', '.join(item.to_run)})" if item.to_run else "no step to run"
    yield f"{item.target}: {run}"
    if item.reasons is None:
        yield "  no earlier build of this target is remembered in this store"
        return
    if item.renamed_from is not None:
        yield f"  it was built as {item.renamed_from!r} before, by the same steps"
    for step in item.reasons.steps:
        yield f"  {step.title}:"
        yield from (f"    {change}" for change in step.changes)
        yield from (f"    reads what {title} makes, which changes" for title in step.follows)
    yield from (f"  {title}: is no longer a step of this target" for title in item.reasons.gone)
    yield from (f"  {title}: nothing changed, but its result is not in the store" for title in item.lost)
    if item.reasons.artifact:
        yield "  the artifact's description:"
        yield from (f"    {change}" for change in item.reasons.artifact)
    if item.artifact == "missing":
        yield "  the artifact is not there yet"
    elif item.artifact == "changed":
        yield "  the artifact's files are not as they were written, so it is written anew"
