"""ONNX: the format of ONNX Runtime, and the ways into it and within it."""

from collections.abc import Iterable
from typing import Any

from modelmill import Converter, Format, Quantizer, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The format `onnx`."""
    from modelmill_onnx import offers

    return (offers.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    """The ways from Hugging Face's layout: the model builder's, and optimum's for encoders."""
    from modelmill_onnx import offers

    return (offers.FROM_HUGGINGFACE, offers.FROM_HUGGINGFACE_INT4, offers.FROM_HUGGINGFACE_ENCODER)


@hookimpl
def modelmill_quantizers() -> Iterable[Quantizer[Any]]:
    """Integers for the matrices of a graph."""
    from modelmill_onnx import offers

    return (offers.QUANTIZE, offers.QUANTIZE_DYNAMIC)
