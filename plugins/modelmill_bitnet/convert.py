"""A BitNet checkpoint → one GGUF file with its ternary values, tensor by tensor."""

import logging
from collections.abc import Iterator

import numpy as np

from modelmill import ConvertError, Job
from modelmill import checkpoint as checkpoints
from modelmill.checkpoint import Checkpoint
from modelmill_bitnet import formats, ternary
from modelmill_bitnet.layout import Layout, Planned, plan
from modelmill_bitnet.predict import FILE, Options
from modelmill_gguf import api

logger = logging.getLogger(__name__)
_PACK = {"TQ1_0": formats.pack_tq1_0, "TQ2_0": formats.pack_tq2_0}


def run(job: Job[Options]) -> None:
    """Write the file. ConvertError for what cannot be done."""
    tokenizer = checkpoints.read_tokenizer(job.source)
    layout = plan(checkpoints.facts(job.source, tokenizer), job.scheme)
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
        if planned.scale is None:
            yield [_plain(weights, planned)]
        else:
            found = _ternary(weights, planned, divides=layout.form.divides)
            yield [_packed(found.codes, planned.tensor.dtype)]
            yield [np.array(found.scale, "<f4").tobytes()]
        weights.release(planned.source.name)


def _plain(weights: Checkpoint, planned: Planned) -> api.Buffer:
    raw = weights.raw(planned.source.name)
    if planned.source.dtype == planned.tensor.dtype:
        return raw
    values: bytes = ternary.widened(raw, planned.source.dtype).astype("<f4").tobytes()
    return values


def _ternary(weights: Checkpoint, planned: Planned, *, divides: bool) -> ternary.Ternary:
    source = planned.source
    if planned.stored_scale is None:
        return ternary.from_floats(source, weights.raw(source.name))
    scale_type = next(tensor.dtype for tensor in weights.tensors if tensor.name == planned.stored_scale)
    scale = float(ternary.widened(weights.raw(planned.stored_scale), scale_type)[0])
    return ternary.from_packed(source.name, weights.raw(source.name), source.shape, scale, divides=divides)


def _packed(codes: formats.Codes, kind: str) -> bytes:
    if kind not in _PACK:
        return (codes.astype(np.float16) - np.float16(1)).astype("<f2").tobytes()
    return _PACK[kind](codes.reshape(-1)).tobytes()
