"""BitNet: models that were trained ternary, for llama.cpp and for bitnet.cpp."""

from collections.abc import Iterable
from typing import Any

from modelmill import Converter, Format, hookimpl


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The format `bitnet`, which bitnet.cpp loads."""
    from modelmill_bitnet import offers

    return (offers.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    """The ways from a BitNet checkpoint."""
    from modelmill_bitnet import offers

    return (offers.TO_GGUF, offers.TO_BITNET_CPP)
