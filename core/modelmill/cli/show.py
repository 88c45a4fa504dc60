"""Figures and tables as people read them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from modelmill.printable import printable

_KILO = 1000


def size(count: float) -> str:
    """Bytes in decimal units, as file managers and registries show them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.2f} TB"


def seconds(count: float) -> str:
    """A length of time."""
    if count < 60:  # noqa: PLR2004
        return f"{count:.1f} s"
    minutes, rest = divmod(round(count), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def count(number: int, thing: str) -> str:
    """A number of things, in the singular for one."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last is not padded."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def document(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, sort_keys=True)
    sys.stdout.write("\n")


def warn(message: str) -> None:
    """Tell something that is not fatal."""
    click.echo(f"modelmill: warning: {printable(message)}", err=True)


def fail(message: str) -> None:
    """Tell something that failed, beside what did not."""
    click.echo("\n".join(f"modelmill: {printable(line)}" for line in message.splitlines()), err=True)


def tell(line: str) -> None:
    """Tell of something that takes a while, beside the results."""
    click.echo(f"  {printable(line)} …", err=True)


def quietly(line: str) -> None:
    """Tell nothing."""
    del line


def relative(path: Path) -> str:
    """A path from here where it lies below, else whole."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
