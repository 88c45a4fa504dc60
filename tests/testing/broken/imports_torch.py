"""Whoever asks what it offers waits for torch."""

from collections.abc import Iterable

import tally
import torch  # noqa: F401

from modelmill import Converter, Format, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    return (tally.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[tally.Options]]:
    return (tally.CONVERTER,)
