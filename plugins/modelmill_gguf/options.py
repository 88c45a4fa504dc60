"""The options of the converter into GGUF."""

from dataclasses import dataclass

from modelmill_gguf.split import parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """`name` is the model's name in the metadata, where the checkpoint does not say or says otherwise.

    `split_max_size` splits the result into files with no more than so much of tensors (`2G`, `500M`).
    """

    name: str | None = None
    split_max_size: str | None = None


def most_bytes(options: ConvertOptions) -> int | None:
    """The bytes of tensors in a split file; None for one file. Raises ConvertError for what is no size."""
    return None if options.split_max_size is None else parse_size(options.split_max_size)
