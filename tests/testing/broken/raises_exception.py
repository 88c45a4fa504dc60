"""A text that it does not like is a bare Exception."""

from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, ConvertError, Format, Job, hookimpl

MODELMILL_API = 1


def run(job: Job[tally.Options]) -> None:
    try:
        tally.run(job)
    except ConvertError:
        raise Exception("something went wrong") from None  # noqa: TRY002


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, run=run),)
