"""Its schemes are a string, and not a tuple of one."""

from collections.abc import Iterable
from dataclasses import replace

import tally

from modelmill import Converter, Format, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (replace(tally.CONVERTER, schemes="plain"),)  # type: ignore[arg-type]
