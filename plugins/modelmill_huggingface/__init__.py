"""Checkpoints in Hugging Face layout, what is composed into them, and the texts that calibrate them."""

from collections.abc import Iterable
from typing import Any

from modelmill import Converter, Format, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The formats `huggingface`, `text`, and of what is composed into a checkpoint."""
    from modelmill_huggingface import adapter, huggingface, override, text, torch_checkpoint

    return (
        huggingface.FORMAT,
        text.FORMAT,
        adapter.FORMAT,
        override.CHAT_TEMPLATE,
        override.GENERATION_CONFIG,
        torch_checkpoint.FORMAT,
    )


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    """A checkpoint with an adapter merged, or with another chat template or generation config; one out of pickles."""
    from modelmill_huggingface import merge, override, torch_checkpoint

    return (
        merge.MERGE_LORA,
        override.SET_CHAT_TEMPLATE,
        override.SET_GENERATION_CONFIG,
        torch_checkpoint.TORCH_TO_HUGGINGFACE,
    )
