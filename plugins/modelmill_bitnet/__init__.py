"""BitNet: models that were trained ternary, in the ternary types of llama.cpp."""

from collections.abc import Iterable
from typing import Any

from modelmill import Converter, hookimpl


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    """The way from a BitNet checkpoint to GGUF."""
    from modelmill_bitnet import offers

    return (offers.TO_GGUF,)
