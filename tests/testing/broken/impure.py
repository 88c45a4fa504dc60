"""What it expects of a step depends on the process that asks."""

import os
from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, Facts, Format, Outlook, hookimpl

MODELMILL_API = 1


def infer(outlook: Outlook[tally.Options]) -> Facts:
    return replace(tally.infer(outlook), details={"seen by": os.getpid()})


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, infer=infer),)
