"""BitNet: models that were trained ternary, for llama.cpp and for bitnet.cpp."""

from collections.abc import Iterable
from typing import Any

from modelmill import Converter, Format, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The format `bitnet`, which bitnet.cpp loads, and `ternary`, a report on whether a model is so."""
    from modelmill_bitnet import offers

    return (offers.FORMAT, offers.REPORT)


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    """The ways from a ternary checkpoint, and the one to know whether it is ternary."""
    from modelmill_bitnet import offers

    return (offers.TO_GGUF, offers.OTHER_TO_GGUF, offers.TO_BITNET_CPP, offers.MEASURE)
