"""A build as it runs: bars on a terminal, plain lines in a log, nothing under --json."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from modelmill.cli.show import seconds, size
from modelmill.execute import Event, Failed, Finished, Progress, Started, Waiting

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_LINE_EVERY = 10.0

Listener = Callable[[Event], None]


@contextmanager
def listener(*, quiet: bool) -> Iterator[Listener]:
    """What to hand to the engine, for as long as it runs."""
    if quiet:
        yield lambda event: None  # noqa: ARG005
    elif sys.stderr.isatty():
        with _bars() as listen:
            yield listen
    else:
        yield _Lines()


class _Lines:
    """A line when a step starts and ends, and now and then how far a long one is."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._began: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        match event:
            case Progress(step=step, done=done, total=total):
                if now - self._told.get(step.key, now) < _LINE_EVERY:
                    return
                self._told[step.key] = now
                if 100 * done <= total:  # too early for a rate: a header or a tokenizer
                    click.echo(f"  {step.title}: {seconds(now - self._began[step.key])} so far", err=True)
                    return
                rate = done / max(now - self._began[step.key], 1e-6)
                left = f", {seconds((total - done) / rate)} left" if rate > 0 and total > done else ""
                click.echo(f"  {step.title}: {size(done)} of {size(total)}, {size(rate)}/s{left}", err=True)
            case _:
                if isinstance(event, Started):
                    self._began[event.step.key] = self._told[event.step.key] = now
                click.echo(_line(event), err=True)


@contextmanager
def _bars() -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    """A bar for each running step, and a line that stays for each that ended."""

    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        key = event.step.key
        match event:
            case Started(step=step):
                self._tasks[key] = self._bars.add_task(step.title, total=step.estimate.bytes_out)
            case Progress(done=done, total=total):
                self._bars.update(self._tasks[key], completed=min(done, total))
            case Finished() | Failed() | Waiting():
                if key in self._tasks:
                    self._bars.remove_task(self._tasks.pop(key))
                self._bars.console.print(_line(event), markup=False, highlight=False, soft_wrap=True)


def _line(event: Event) -> str:
    title = event.step.title
    match event:
        case Started():
            return f"  {title} …"
        case Waiting():
            return f"  {title}: another build is making it; waiting"
        case Finished(reused=True):
            return f"  {title}: made by another build"
        case Finished(seconds=took, peak_memory=peak, size=count):
            return f"  {title}: {size(count)} in {seconds(took)}, {size(peak)} of memory"
        case Failed():
            return f"  {title}: failed"
    return title
