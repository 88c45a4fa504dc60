"""MLX: the format of mlx-lm, and the way into it."""

from collections.abc import Iterable
from typing import Any

from modelmill import Converter, Format, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    """The format `mlx`."""
    from modelmill_mlx import offers

    return (offers.FORMAT,)


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    """The way from Hugging Face's layout."""
    from modelmill_mlx import offers

    return (offers.FROM_HUGGINGFACE,)
