"""GGUF: the format of llama.cpp, and the ways into it, within it and out of it."""

from collections.abc import Iterable
from typing import Any

from modelmill import Converter, Format, Quantizer, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The formats `gguf` and `imatrix`."""
    from modelmill_gguf import imatrix, offers

    return (offers.FORMAT, imatrix.FORMAT)


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    """Ways into GGUF and out of it."""
    from modelmill_gguf import fused_record, imatrix_record, offers, to_huggingface

    return (offers.FROM_HUGGINGFACE, to_huggingface.TO_HUGGINGFACE, fused_record.FUSED, imatrix_record.MAKE_IMATRIX)


@hookimpl
def modelmill_quantizers() -> Iterable[Quantizer[Any]]:
    """Ways to make a GGUF model smaller."""
    from modelmill_gguf import quantize_record

    return (quantize_record.QUANTIZER,)
