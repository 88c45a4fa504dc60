"""`modelmill rebuild`: whether artifacts can be made again, byte for byte."""

from pathlib import Path

import click

from modelmill.build.rebuild import check
from modelmill.cli import options, show
from modelmill.cli.progress import listener
from modelmill.decode import encode
from modelmill.execute import Settings
from modelmill.store import Store, store_folder


@click.command()
@options.targets
@options.build_file
@click.option(
    "--check",
    "checking",
    is_flag=True,
    help="Compare with dist/, and change nothing there: all that rebuild does as yet, so it must be said.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Compare with this instead of dist/.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=None, help="Steps at once; else one for each core.")
@click.option("--memory", metavar="SIZE", help="Memory that steps may use together, such as 8G; else what there is.")
@options.as_json
def command(
    names: tuple[str, ...],
    everything: bool,
    file: Path,
    store_path: Path | None,
    checking: bool,
    output: Path | None,
    jobs: int | None,
    memory: str | None,
    as_json: bool,
) -> int:
    """Build targets again in a fresh store and say for each artifact: exact, tensor-equal or different, and where.

    The exit code is 1 where one is different or cannot be built again.
    """
    if not checking:
        raise click.UsageError(
            "say --check: to compare with dist/ is all that rebuild does as yet; to build, run `modelmill build`"
        )
    store = Store(store_folder(store_path), show.warn)
    settings = Settings(jobs=jobs or 0, memory=options.size(memory, "--memory"), keep_going=True)
    with listener(quiet=as_json) as listen:
        found = check(file, store, names, output, settings, listen, everything=everything)
    if as_json:
        failures = [str(error) for error in found.failures]
        show.document({"artifacts": encode(found.comparisons), "failures": failures})
    else:
        for item in found.comparisons:
            click.echo(f"{item.target}: {item.verdict}")
            for place in item.where:
                click.echo(f"  {place}")
    for error in found.failures:
        show.fail(str(error))
    different = any(item.verdict == "different" for item in found.comparisons)
    return max([int(different), *(error.exit_code for error in found.failures)])
