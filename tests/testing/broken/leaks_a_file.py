"""It leaves a file where nothing is to be left."""

from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, Format, Job, hookimpl

MODELMILL_API = 1


def run(job: Job[tally.Options]) -> None:
    tally.run(job)
    (job.out.parent / "cache").write_text("for the next time")


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, run=run),)
