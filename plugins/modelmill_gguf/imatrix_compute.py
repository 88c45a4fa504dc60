"""An importance matrix from a model and a text: llama.cpp runs the model, and what enters each matrix is squared.

The statistic is that of llama.cpp's tools/imatrix: for every column of a matrix, the sum of squares of what it was
multiplied with. It is summed in float64 here, so that neither the order nor the number of tokens blurs it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError, Job, Tensor
from modelmill_gguf import llama
from modelmill_gguf.imatrix_record import FILE, ImatrixOptions, check, fields, parts_of
from modelmill_gguf.model import read_model
from modelmill_gguf.writer import write


class Collector:
    """Sums of squares and counts by tensor name, filled while a model runs."""

    def __init__(self) -> None:
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.counts: dict[str, NDArray[np.float64]] = {}

    def add(self, product: llama.Product) -> None:
        """Take in what one matrix, or one stack of experts, was multiplied with."""
        columns = product.inputs.shape[-1]
        name, experts = product.weight, product.experts
        sums = self.sums.setdefault(name, np.zeros((experts, columns)))
        counts = self.counts.setdefault(name, np.zeros(experts))
        if product.chosen is None:
            rows = product.inputs.reshape(-1, columns).astype(np.float64)
            sums[0] += np.einsum("ij,ij->j", rows, rows)
            counts[0] += len(rows)
            return
        # Inputs are by token, slot and column, with one slot where all chosen experts see the same.
        for slot in range(product.chosen.shape[1]):
            rows = product.inputs[:, slot % product.inputs.shape[1]].astype(np.float64)
            for expert in range(experts):
                own = rows[product.chosen[:, slot] == expert]
                sums[expert] += np.einsum("ij,ij->j", own, own)
                counts[expert] += len(own)


def run(job: Job[ImatrixOptions]) -> None:
    """Write `imatrix.gguf`; raises ConvertError for a text that is too short or a model that cannot run."""
    check(job.options)
    model = read_model(job.source)
    text = _text(job.inputs["calibration"])
    try:
        content = text.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConvertError(
            f"The calibration text {text.name} is not UTF-8 from its byte {error.start} on; save it as UTF-8."
        ) from error
    collector = Collector()
    chunks = llama.run_text(
        model.parts[0].path,
        content,
        context=job.options.context,
        chunks=job.options.chunks,
        threads=job.limits.threads,
        listener=collector.add,
    )
    tensors: list[Tensor] = []
    data = []
    for name in sorted(collector.sums):
        sums, counts = collector.sums[name], collector.counts[name]
        if not np.isfinite(sums).all():
            raise ConvertError(f"The activations before the tensor {name!r} are NaN or infinite; the model is damaged.")
        stack = (len(counts),) if len(counts) > 1 else ()
        tensors += parts_of(name, (*stack, 1, sums.shape[-1]))
        data += [[sums.astype(np.float32).data], [counts.astype(np.float32).data]]
    write(job, FILE, fields=fields(text.name, chunks, job.options.context), tensors=tensors, data=data)


def _text(folder: Path) -> Path:
    found: list[Any] = sorted(path for path in folder.iterdir() if path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ConvertError(f"A calibration text is one file, and the folder holds {names}.")
    path: Path = found[0]
    return path
