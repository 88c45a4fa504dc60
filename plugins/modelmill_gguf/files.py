"""A model in one GGUF file or in several: their exact sizes beforehand, and writing them.

Source of the layout: llama.cpp's gguf-split. The first file holds all metadata; the others only their place.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from modelmill import Job, Tensor
from modelmill_gguf import split
from modelmill_gguf.fields import Buffer, Field
from modelmill_gguf.header import DEFAULT_ALIGNMENT
from modelmill_gguf.writer import file_size, metadata_size, write


def sizes(
    metadata: int, tensors: Sequence[Tensor], split_max_size: str | None, alignment: int = DEFAULT_ALIGNMENT
) -> dict[str, int]:
    """The size of every file of a model whose metadata take so many bytes. ConvertError for a size that is none."""
    groups = split.groups(tensors, split.most_bytes(split_max_size))
    found = {}
    for at, group in enumerate(groups):
        place = metadata_size(split.fields(at, len(groups), len(tensors)))
        own = (metadata, alignment) if at == 0 else (0, DEFAULT_ALIGNMENT)
        found[split.file_name(at, len(groups))] = file_size(own[0] + place, group, own[1])
    return found


def write_model(
    job: Job[Any],
    *,
    fields: Sequence[Field],
    tensors: Sequence[Tensor],
    data: Iterable[Iterable[Buffer]],
    split_max_size: str | None,
    alignment: int = DEFAULT_ALIGNMENT,
) -> None:
    """Write a model into the job's output; `data` gives each tensor's bytes in pieces, as in `writer.write`."""
    groups = split.groups(tensors, split.most_bytes(split_max_size))
    pieces = iter(data)
    for at, group in enumerate(groups):
        write(
            job,
            split.file_name(at, len(groups)),
            fields=[*(fields if at == 0 else ()), *split.fields(at, len(groups), len(tensors))],
            tensors=group,
            data=islice(pieces, len(group)),
            # Files after the first do not say how they are aligned, so they are as GGUF is by default.
            alignment=alignment if at == 0 else DEFAULT_ALIGNMENT,
        )
