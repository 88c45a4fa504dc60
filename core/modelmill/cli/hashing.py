"""Files as they are hashed: a bar with rate and time left on a terminal, a line now and then in a log."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from modelmill.cli.show import seconds, size

_LINE_EVERY = 10.0
_BAR_EVERY = 0.1

Note = Callable[[int, int], None]
"""Told from any thread how many bytes were just hashed, and how many there are in all."""


@contextmanager
def hashing(*, quiet: bool) -> Iterator[Note | None]:
    """What to hand to `verify`, for as long as it runs."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        columns = (BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress("  hashing", *columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=None)
            yield _Tally(lambda done, total, _: bars.update(task, completed=done, total=total), _BAR_EVERY)
    else:
        yield _Tally(_line, _LINE_EVERY)


class _Tally:
    """The bytes so far, told on at most once in a while: files come in small pieces from several threads."""

    def __init__(self, tell: Callable[[int, int, float], None], every: float) -> None:
        self._tell, self._every = tell, every
        self._lock = threading.Lock()
        self._done = 0
        self._began = self._told = time.monotonic()

    def __call__(self, count: int, total: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._told >= self._every:
                self._told = now
                self._tell(self._done, total, now - self._began)


def _line(done: int, total: int, took: float) -> None:
    rate = done / took
    left = seconds((total - done) / rate)
    click.echo(f"  hashing: {size(done)} of {size(total)}, {size(rate)}/s, {left} left", err=True)
