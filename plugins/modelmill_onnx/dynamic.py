"""An encoder in ONNX → int8 weights, its activations quantized while it runs, by ONNX Runtime."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelmill import ConvertError, Job
from modelmill_onnx.checker import check_graph
from modelmill_onnx.encoders import DynamicOptions, reduces_range
from modelmill_onnx.format import GENAI, check_structure

MODEL: Final = "model.onnx"
_DATA: Final = (f"{MODEL}.data", f"{MODEL}_data")
_ONE_FILE: Final = 2**31
"""Bytes of a source whose int8 is surely small enough for one file of Protocol Buffers, which ends at 2 GiB."""


def run(job: Job[DynamicOptions]) -> None:
    """Quantize `model.onnx`; everything else of the folder travels along."""
    if MODEL not in check_structure(job.source) or (job.source / GENAI).is_file():
        raise ConvertError(
            f"onnx-dynamic takes the folder of an encoder with {MODEL}, as huggingface-to-onnx-encoder writes it"
        )
    check_graph(job.source / MODEL)
    size = sum(path.stat().st_size for path in job.source.glob(f"{MODEL}*"))
    from onnxruntime.quantization import QuantType, quantize_dynamic

    job.limits.scratch.mkdir(parents=True, exist_ok=True)
    with _scratch(job.limits.scratch):
        quantize_dynamic(
            job.source / MODEL,
            job.out / MODEL,
            weight_type=QuantType.QInt8,
            per_channel=job.options.per_channel,
            reduce_range=reduces_range(job.options, job.hardware),
            use_external_data_format=size > _ONE_FILE,
        )
    for path in sorted(job.source.rglob("*")):
        name = path.relative_to(job.source)
        if path.is_file() and name.as_posix() not in (MODEL, *_DATA):
            (job.out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, job.out / name)


@contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """ONNX Runtime writes the model once more with its shapes inferred: into the step's own scratch, in silence.

    It advises by a warning to prepare the model first, which folds constants that optimum's export has folded.
    """
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        tempfile.tempdir = before
        logging.disable(logging.NOTSET)
