"""huggingface → quantized gguf in one go: each weight is read once and written once, with no file in between."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelmill import Job, Tensor
from modelmill_gguf.convert import OpenModel, open_model, rows
from modelmill_gguf.fused_record import FusedOptions
from modelmill_gguf.header import DEFAULT_ALIGNMENT
from modelmill_gguf.layout import Planned
from modelmill_gguf.quantize import quantize
from modelmill_gguf.quantize_stream import Block


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A block whose values are in memory already."""

    data: memoryview

    def __call__(self) -> memoryview:
        return self.data


def run(job: Job[FusedOptions]) -> None:
    """Convert and quantize a checkpoint; the step's work."""
    with open_model(job.source, None, job.options.name, job.lineage) as model:
        planned = {each.tensor.name: each for each in model.layout.planned}

        def blocks(tensor: Tensor) -> Iterator[Block]:
            return _blocks(model, planned[tensor.name])

        quantize(job, model.fields, model.layout.tensors, blocks, DEFAULT_ALIGNMENT)


def _blocks(model: OpenModel, planned: Planned) -> Iterator[Block]:
    first = 0
    for block in rows(model, planned, planned.tensor.dtype):
        # The block may be a view of the checkpoint, which is let go of before the threads are done with it.
        data = np.array(block)
        yield Block(first=first, values=data.size, load=_Loaded(data.data.cast("B")))
        first += data.size
