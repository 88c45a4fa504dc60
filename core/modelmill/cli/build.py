"""`modelmill build`: make artifacts."""

import sys
from pathlib import Path
from typing import Any

import click

from modelmill.build.make import Made, fetch_inputs, make, outstanding
from modelmill.build.placing import Artifact
from modelmill.build.prepare import prepare
from modelmill.build.uptodate import remember
from modelmill.build.watched import watched
from modelmill.cli import options, show
from modelmill.cli.fetching import fetching
from modelmill.cli.plan import plan_document, plan_text
from modelmill.cli.progress import listener
from modelmill.config import Build
from modelmill.execute import Settings, machine, too_large
from modelmill.store import Store, store_folder
from modelmill_artifacts.release import RELEASE


@click.command()
@options.targets
@options.build_file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Instead of dist/ beside the build file.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=None, help="Steps at once; else one for each core.")
@click.option("--memory", metavar="SIZE", help="Memory that steps may use together, such as 8G; else what there is.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds that one step may take.")
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, build what does not depend on it.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and build nothing.")
@click.option("--locked", is_flag=True, help="Refuse a lock that does not stand for the sources.")
@options.offline
@click.option("--link", is_flag=True, help="Hard-link dist/ to the store instead of copying; do not edit it then.")
@options.as_json
def command(
    names: tuple[str, ...],
    everything: bool,
    file: Path,
    store_path: Path | None,
    output: Path | None,
    jobs: int | None,
    memory: str | None,
    timeout: float | None,
    keep_going: bool,
    dry_run: bool,
    locked: bool,
    offline: bool,
    link: bool,
    as_json: bool,
) -> int:
    """Build targets into dist/NAME/VERSION/TARGET; all default ones if none is named."""
    store = Store(store_folder(store_path), show.warn)
    with fetching(quiet=as_json) as note:
        prepared = prepare(
            file,
            store,
            names,
            everything=everything,
            lock="refuse" if locked else "look" if dry_run else "write",
            offline=offline,
            told=show.quietly if as_json else show.tell,
            note=note,
        )
        if not dry_run:
            fetch_inputs(prepared, keep_going=keep_going)
    for warning in prepared.plan.warnings:
        show.warn(warning)
    settings = Settings(jobs=jobs or 0, memory=options.size(memory, "--memory"), timeout=timeout, keep_going=keep_going)
    if dry_run:
        todo = outstanding(prepared)
        for warning in too_large(todo.steps.values(), settings.memory or machine.memory()):
            show.warn(warning)
        store.index.save()
        if as_json:
            show.document(plan_document(prepared.plan, todo))
        else:
            click.echo(plan_text(prepared.plan, todo))
        return 0
    folder = output or prepared.build.path.absolute().parent / "dist"
    with listener(quiet=as_json) as listen:
        made = make(prepared, folder, settings, listen, link=link)
    if as_json:
        show.document(_document(made))
    else:
        told = _told(made)
        click.echo(told)
        if made.wanting:
            click.echo(_unfinished(prepared.build, made))
        files = watched(prepared, made)
        quiet = not made.failures and not made.wanting and not any(item.made for item in made.artifacts)
        if files is not None and quiet:
            remember(sys.argv[1:], files, told)
    for error in made.failures.values():
        show.fail(str(error))
    return max((error.exit_code for error in made.failures.values()), default=0) if made.failures else 0


def _told(made: Made) -> str:
    fresh = [item for item in made.artifacts if item.made]
    if not made.artifacts:
        return "no artifact was made"
    if not fresh:
        where = show.relative(made.artifacts[0].folder.parent)
        verb = "is" if len(made.artifacts) == 1 else "are"
        return f"{show.count(len(made.artifacts), 'artifact')} in {where} {verb} up to date"
    rows = [_row(item) for item in made.artifacts]
    told = show.table(("artifact", "format", "size", "bits/weight", "for", ""), rows)
    usage = next((item for item in fresh if item.manifest.usage), None)
    if usage is None:
        return told
    return f"{told}\n\nRun one:\n  cd {show.relative(usage.folder)}\n  {usage.manifest.usage}"


def _unfinished(build: Build, made: Made) -> str:
    """Why the release has no index, and the command that completes it."""
    names = made.wanting
    command = " ".join(("modelmill build", *(names if any(not build.targets[name].default for name in names) else ())))
    verb = "is" if len(names) == 1 else "are"
    where = show.relative(made.artifacts[0].folder.parent)
    return (
        f"{where} has no {RELEASE} now: {', '.join(names)} {verb} missing there, or not what {build.path.name} makes "
        f"now; `{command}` completes the release"
    )


def _row(item: Artifact) -> tuple[str, ...]:
    hardware = item.manifest.hardware.profile if item.manifest.hardware else ""
    return (
        show.relative(item.folder),
        f"{item.manifest.format} {item.manifest.scheme}",
        show.size(item.size),
        f"{item.manifest.bits_per_weight:.2f}",
        hardware,
        "" if item.made else "up to date",
    )


def _document(made: Made) -> dict[str, Any]:
    return {
        "artifacts": [
            {
                "target": item.target,
                "path": str(item.folder),
                "made": item.made,
                "format": item.manifest.format,
                "scheme": item.manifest.scheme,
                "bytes": item.size,
                "bits_per_weight": item.manifest.bits_per_weight,
            }
            for item in made.artifacts
        ],
        "wanting": list(made.wanting),
        "failures": [str(error) for error in made.failures.values()],
    }
