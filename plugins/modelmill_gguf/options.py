"""The options of the converter into GGUF."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """`name` is the model's name in the metadata, where the checkpoint does not say or says otherwise.

    `split_max_size` splits the result into files with no more than so much of tensors (`2G`, `500M`).
    """

    name: str | None = None
    split_max_size: str | None = None
