"""A BitNet checkpoint → one GGUF file with its ternary values, tensor by tensor."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from modelmill import ConvertError, Job
from modelmill import checkpoint as checkpoints
from modelmill.checkpoint import Checkpoint
from modelmill_bitnet import formats, ternary
from modelmill_bitnet.layout import Layout, Planned, Runtime, llama_cpp, plan
from modelmill_bitnet.predict import FILE, I2sOptions, TqOptions, i2_s_runtime
from modelmill_gguf import api

logger = logging.getLogger(__name__)


def run_tq(job: Job[TqOptions]) -> None:
    """Write the file for llama.cpp. ConvertError for what cannot be done."""
    _write(job, llama_cpp(job.scheme))


def run_i2_s(job: Job[I2sOptions]) -> None:
    """Write the file for bitnet.cpp. ConvertError for what cannot be done."""
    _write(job, i2_s_runtime(job.options, job.hardware))


def _write(job: Job[Any], runtime: Runtime) -> None:
    tokenizer = checkpoints.read_tokenizer(job.source)
    layout = plan(checkpoints.facts(job.source, tokenizer), runtime)
    if tokenizer is None:
        raise ConvertError("the checkpoint has no tokenizer: there is no tokenizer.json and no tokenizer.model")
    if layout.fallbacks:
        logger.warning("held as F16, exactly, because 256 divides no row: %s", ", ".join(layout.fallbacks))
    with checkpoints.open_checkpoint(job.source) as weights:
        api.write(
            job,
            FILE,
            fields=[*layout.fields, *api.vocabulary_fields(tokenizer, layout.vocabulary)],
            tensors=layout.tensors,
            data=_data(weights, layout),
        )


def _data(weights: Checkpoint, layout: Layout) -> Iterator[list[api.Buffer]]:
    for planned in layout.planned:
        if planned.ternary:
            found = _ternary(weights, planned, divides=layout.form.divides)
            yield [_packed(found, planned.tensor.dtype, layout.runtime)]
            if planned.scale is not None:
                yield [np.array(found.scale, "<f4").tobytes()]
        else:
            yield [_plain(weights, planned)]
        weights.release(planned.source.name)


def _plain(weights: Checkpoint, planned: Planned) -> api.Buffer:
    raw = weights.raw(planned.source.name)
    if planned.source.dtype == planned.tensor.dtype:
        return raw
    values = ternary.widened(raw, planned.source.dtype)
    if planned.tensor.dtype == "F16" and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise ConvertError(f"tensor {planned.source.name!r} holds a value that F16 cannot hold")
    data: bytes = values.astype("<f2" if planned.tensor.dtype == "F16" else "<f4").tobytes()
    return data


def _ternary(weights: Checkpoint, planned: Planned, *, divides: bool) -> ternary.Ternary:
    source = planned.source
    if planned.stored_scale is None:
        return ternary.from_floats(source, weights.raw(source.name))
    scale_type = next(tensor.dtype for tensor in weights.tensors if tensor.name == planned.stored_scale)
    scale = float(ternary.widened(weights.raw(planned.stored_scale), scale_type)[0])
    return ternary.from_packed(source.name, weights.raw(source.name), source.shape, scale, divides=divides)


def _packed(found: ternary.Ternary, kind: str, runtime: Runtime) -> bytes:
    codes = found.codes.reshape(-1)
    if kind == "TQ1_0":
        return formats.pack_tq1_0(codes).tobytes()
    if kind == "TQ2_0":
        return formats.pack_tq2_0(codes).tobytes()
    if runtime.variant is not None:
        return formats.pack_i2_s(codes, found.scale, runtime.variant).tobytes()
    return (codes.astype(np.float16) - np.float16(1)).astype("<f2").tobytes()
