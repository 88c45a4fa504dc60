"""Its native code leaves a file where nothing is to be left, and Python knows nothing of it."""

import ctypes
import os
from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, Format, Job, hookimpl

MODELMILL_API = 1


def run(job: Job[tally.Options]) -> None:
    tally.run(job)
    libc = ctypes.CDLL(None)
    libc.close(libc.creat(os.fsencode(job.out.parent / "cache"), 0o644))


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, run=run),)
