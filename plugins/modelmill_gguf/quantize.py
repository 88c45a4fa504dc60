"""Quantizing a GGUF model: the same model, its tensors in the types that a scheme's recipe gives them.

The result is, byte for byte, what llama.cpp's `llama_model_quantize` writes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeVar

from modelmill import ConvertError, Job, Tensor
from modelmill_gguf.details import gguf_details
from modelmill_gguf.fields import Field
from modelmill_gguf.files import write_model
from modelmill_gguf.imatrix import open_imatrix
from modelmill_gguf.imatrix_weights import Weights, weights
from modelmill_gguf.model import Model, read_model
from modelmill_gguf.quantize_metadata import ImportanceSummary, quantized_fields
from modelmill_gguf.quantize_policy import Decision, QuantizeOptions, decide
from modelmill_gguf.quantize_stream import Block, quantized, row_blocks
from modelmill_gguf.tensor_types import TYPES

AnyOptions = TypeVar("AnyOptions", bound=QuantizeOptions)
Blocks = Callable[[Tensor], Iterator[Block]]


def run(job: Job[QuantizeOptions]) -> None:
    """Write the model in the job's scheme; raises ConvertError for what the scheme cannot hold."""
    model = read_model(job.source)
    tensors = [info.tensor for _, info in model.tensors]
    with _opened(model) as blocks:
        quantize(job, list(model.fields.values()), tensors, blocks, model.parts[0].header.alignment)


def quantize(
    job: Job[AnyOptions], fields: Sequence[Field], tensors: Sequence[Tensor], blocks: Blocks, alignment: int
) -> None:
    """Write the model from another's metadata and tensors, wherever their rows come from."""
    means, importance = _importance(job)
    details = gguf_details(fields, 0, 0)
    keys = details["keys"] | details.get("heads", {})
    decisions = decide(job.scheme, job.options, keys, tensors, None if importance is None else means)
    _report(decisions)
    write_model(
        job,
        fields=quantized_fields(fields, job.scheme, importance),
        tensors=[item.result for item in decisions],
        data=quantized(decisions, blocks, means, job.limits.threads),
        split_max_size=job.options.split_max_size,
        alignment=alignment,
    )


def _report(decisions: tuple[Decision, ...]) -> None:
    """Tell in the step's log which tensors got another type than the recipe wants, because of their rows."""
    for item in decisions:
        if item.fell_back:
            print(  # noqa: T201  # the step's log
                f"{item.source.name}: rows of {item.source.shape[-1]} values do not divide into {item.wanted} "
                f"blocks, so it becomes {item.result.dtype}"
            )


def _importance(job: Job[AnyOptions]) -> tuple[Weights, ImportanceSummary | None]:
    if "imatrix" not in job.inputs:
        return {}, None
    file = open_imatrix(job.inputs["imatrix"])
    return weights(file), file.summary()


@contextmanager
def _opened(model: Model) -> Iterator[Blocks]:
    """The blocks of the tensors of files.

    They are read into memory of their own, not mapped: pages of a mapping would count as the step's memory until
    the kernel takes them back.
    """
    with ExitStack() as files:
        opened = {part.path: files.enter_context(part.path.open("rb")) for part in model.parts}
        places = {info.name: (opened[part.path], info.offset) for part, info in model.tensors}

        def blocks(tensor: Tensor) -> Iterator[Block]:
            file, offset = places[tensor.name]
            kind = TYPES[tensor.dtype]
            for first, values in row_blocks(tensor.shape):
                start, size = (count // kind.block_values * kind.block_bytes for count in (first, values))
                load = partial(_read, file.fileno(), offset + start, size, file.name)
                yield Block(first=first, values=values, load=load)

        yield blocks


def _read(descriptor: int, offset: int, size: int, name: str) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise ConvertError(f"{name} became shorter while it was read.")
    return data
