"""Files as they are fetched: a bar with rate and time left on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from modelmill.cli.show import seconds, size

_LINE_EVERY = 10.0

Note = Callable[[int, int], None]
"""Told the bytes that came so far and those that there are, one batch of files after the other."""


@contextmanager
def fetching(*, quiet: bool) -> Iterator[Note | None]:
    """What to hand to whoever fetches, for as long as it does."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        bar = _Bar()
        try:
            yield bar
        finally:
            bar.stop()
    else:
        yield _Lines()


class _Bar:
    """A bar for each batch, there as long as the batch is under way."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._task: Any = None

    def __call__(self, done: int, total: int) -> None:
        if done >= total:
            self.stop()
            return
        if self._bars is None:
            self._start(total)
        self._bars.update(self._task, completed=done)

    def stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        columns = (BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bars = Progress("  fetching", *columns, console=Console(stderr=True), transient=True)
        self._bars.start()
        self._task = self._bars.add_task("", total=total)


class _Lines:
    """A line now and then, and one at the end of a batch that took long enough for the first."""

    def __init__(self) -> None:
        self._began = self._told = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._began:
            self._began = self._told = now
        took = now - self._began
        if done >= total:
            if self._told > self._began:
                click.echo(f"  fetched {size(done)} in {seconds(took)}, {size(done / took)}/s", err=True)
            self._began = 0.0
        elif now - self._told >= _LINE_EVERY:
            self._told = now
            left = f", {seconds((total - done) * took / done)} left" if done else ""
            click.echo(f"  fetching: {size(done)} of {size(total)}, {size(done / took)}/s{left}", err=True)
