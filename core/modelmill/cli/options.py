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


def offline(command: Command) -> Command:
    """`--offline`: ask nobody."""
    return click.option("--offline", is_flag=True, help="Use only what the lock and the store have.")(command)


def as_json(command: Command) -> Command:
    """`--json`: one JSON document on standard output, and nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def targets(command: Command) -> Command:
    """`TARGET… --all`: which targets."""
    argument = click.argument("names", metavar="[TARGET]...", nargs=-1)
    return argument(
        click.option("--all", "everything", is_flag=True, help="Also targets with default = false.")(command)
    )


def size(text: str | None, option: str) -> int:
    """A size such as 800M or 8G, in binary units; 0 for none. click.BadParameter for what is none."""
    if text is None:
        return 0
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    try:
        value = float(number) * (units[unit] if unit else 1)
    except (KeyError, ValueError):
        value = 0
    if value <= 0:
        raise click.BadParameter(f"{text!r} is not a size; write 800M or 8G", param_hint=option)
    return int(value)
