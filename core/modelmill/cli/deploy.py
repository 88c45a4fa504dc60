"""`modelmill deploy`: files for an orchestrator that runs an artifact's image."""

from pathlib import Path

import click

from modelmill.cli import options
from modelmill.cli.package import run


@click.command()
@click.argument("target")
@click.option("--as", "form", required=True, help="kubernetes, compose, quadlet, or what a plugin offers.")
@options.build_file
@click.option("--dist", type=click.Path(path_type=Path), help="Instead of dist/ beside the build file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where; else dist/packages/… beside it.")
@options.as_json
def command(
    target: str,
    form: str,
    file: Path,
    store_path: Path | None,
    dist: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write the files that run TARGET's image."""
    del store_path
    run("deploy", target, form, file, dist, output, load=False, as_json=as_json)
