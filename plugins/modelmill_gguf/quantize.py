"""Quantizing a GGUF file: the same model, its tensors in the types that a scheme's recipe gives them.

The result is, byte for byte, what llama.cpp's `llama_model_quantize` writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Job, Tensor
from modelmill_gguf import fields as gguf_fields
from modelmill_gguf.header import Header, TensorInfo, read_header
from modelmill_gguf.imatrix import open_imatrix
from modelmill_gguf.imatrix_weights import weights
from modelmill_gguf.quantize_metadata import ImportanceSummary, quantized_fields
from modelmill_gguf.quantize_policy import Decision, QuantizeOptions, decide
from modelmill_gguf.quantize_stream import Read, Weights, quantized
from modelmill_gguf.writer import write


def run(job: Job[QuantizeOptions]) -> None:
    """Write `model.gguf` in the job's scheme; raises ConvertError for what the scheme cannot hold."""
    path = single_file(job.source)
    header = read_header(path)
    means, importance = _importance(job)
    decisions = decide(
        job.scheme,
        job.options,
        {key: gguf_fields.value(field) for key, field in header.fields.items() if field.count <= 1024},  # noqa: PLR2004
        (Tensor(name=info.name, dtype=info.kind, shape=info.shape) for info in header.tensors),
        None if importance is None else means,
    )
    report(decisions)
    with _opened(path, header) as open_tensor:
        write(
            job,
            "model.gguf",
            fields=quantized_fields(header.fields.values(), job.scheme, importance),
            tensors=[item.result for item in decisions],
            data=quantized(decisions, open_tensor, means, job.limits.threads),
            alignment=header.alignment,
        )


def single_file(folder: Path) -> Path:
    """The one GGUF file of a model's folder."""
    found = sorted(folder.glob("*.gguf"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ConvertError(f"A GGUF model is one file that ends in .gguf, and the folder holds {names}.")
    return found[0]


def report(decisions: tuple[Decision, ...]) -> None:
    """Tell in the step's log which tensors got another type than the recipe wants, because of their rows."""
    for item in decisions:
        if item.fell_back:
            print(  # noqa: T201  # the step's log
                f"{item.source.name}: rows of {item.source.shape[-1]} values do not divide into {item.wanted} "
                f"blocks, so it becomes {item.result.dtype}"
            )


def _importance(job: Job[QuantizeOptions]) -> tuple[Weights, ImportanceSummary | None]:
    if "imatrix" not in job.inputs:
        return {}, None
    file = open_imatrix(job.inputs["imatrix"])
    return weights(file), file.summary()


@contextmanager
def _opened(path: Path, header: Header) -> Iterator[Any]:
    """A function that opens tensors of the file for reading.

    Reads are copies, not a mapping: pages of a mapping would count as the step's memory until the kernel takes
    them back.
    """
    infos: dict[str, TensorInfo] = {info.name: info for info in header.tensors}
    with path.open("rb") as file:
        descriptor = file.fileno()

        def open_tensor(tensor: Tensor) -> Read:
            offset = infos[tensor.name].offset
            return lambda start, size: _read(descriptor, offset + start, size, path.name)

        yield open_tensor


def _read(descriptor: int, offset: int, size: int, name: str) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise ConvertError(f"{name} became shorter while it was read.")
    return data
