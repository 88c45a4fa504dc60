"""A program that it runs leaves a file beside the model."""

import subprocess
from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, Format, Job, hookimpl

MODELMILL_API = 1


def run(job: Job[tally.Options]) -> None:
    tally.run(job)
    subprocess.run(["touch", job.source.parent / "cache"], check=True)


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, run=run),)
