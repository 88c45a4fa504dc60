"""The options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def build_file(command: Command) -> Command:
    """`--file` and `--store`: which build file, which store."""
    file = click.option(
        "-f", "--file", "file", type=click.Path(path_type=Path), default=Path("build.toml"), help="The build file."
    )
    return file(store(command))


def store(command: Command) -> Command:
    """`--store`: which store."""
    return click.option(
        "--store",
        "store_path",
        type=click.Path(path_type=Path),
        help="The store; else $MODELMILL_STORE, else modelmill in the user's cache folder.",
    )(command)


def as_json(command: Command) -> Command:
    """`--json`: one JSON document on standard output, and nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def targets(command: Command) -> Command:
    """`TARGET… --all`: which targets."""
    argument = click.argument("names", metavar="[TARGET]...", nargs=-1)
    return argument(
        click.option("--all", "everything", is_flag=True, help="Also targets with default = false.")(command)
    )
