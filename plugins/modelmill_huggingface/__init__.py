"""Checkpoints in Hugging Face layout, and the texts that calibrate them."""

from collections.abc import Iterable

from modelmill import Format, hookimpl


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The formats `huggingface` and `text`."""
    from modelmill_huggingface import huggingface, text

    return (huggingface.FORMAT, text.FORMAT)
