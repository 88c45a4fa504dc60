"""It tidies up the model that it reads."""

from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, Format, Job, hookimpl

MODELMILL_API = 1


def run(job: Job[tally.Options]) -> None:
    for path in job.source.iterdir():
        path.write_text(" ".join(tally.text(job.source).split()))
    tally.run(job)


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, run=run),)
