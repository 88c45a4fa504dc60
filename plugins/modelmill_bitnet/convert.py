"""A BitNet checkpoint → one GGUF file with its ternary values, tensor by tensor."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError, Facts, Job
from modelmill import checkpoint as checkpoints
from modelmill.checkpoint import TERNARY_TOLERANCE, Checkpoint
from modelmill_bitnet import architectures, detection, formats, ternary
from modelmill_bitnet.checkpoint import Form
from modelmill_bitnet.layout import Layout, Planned, Runtime, llama_cpp, plan
from modelmill_bitnet.predict import FILE, I2sOptions, OtherOptions, TqOptions, i2_s_runtime
from modelmill_gguf import api

logger = logging.getLogger(__name__)
_PIECE = 32 << 20


def run_tq(job: Job[TqOptions]) -> None:
    """Write the file for llama.cpp. ConvertError for what cannot be done."""
    _write(job, partial(plan, runtime=llama_cpp(job.scheme)))


def run_other(job: Job[OtherOptions]) -> None:
    """Write the file of a model of another class. ConvertError where its weights are not ternary, measured."""
    report = detection.read(job.inputs["ternary"])
    if not report.ternary and not job.options.experimental:
        raise ConvertError(not_ternary(report))
    _write(job, partial(architectures.plan, scheme=job.scheme))


def run_i2_s(job: Job[I2sOptions]) -> None:
    """Write the file for bitnet.cpp. ConvertError for what cannot be done."""
    _write(job, partial(plan, runtime=i2_s_runtime(job.options, job.hardware)))


def not_ternary(report: detection.Report) -> str:
    """Why a model is not to be cut to ternary values, with what was measured and what to use instead."""
    if report.layer is None:
        return "the checkpoint has no layers of BF16, F16 or F32 weights that could be ternary"
    far = "holds a value that is not finite" if report.distance is None else f"lies {report.distance:.1%} from it"
    return (
        f"the model was not trained ternary: a ternary layer's weights are -s, 0 and s within "
        f"{TERNARY_TOLERANCE:.0%}, and {report.layer!r} {far}; use Q4_K_M, or Q2_K where it must be small, or say "
        "`experimental = true` in the target's options and lose what the weights hold"
    )


def _write(job: Job[Any], planned: Callable[[Facts], Layout]) -> None:
    tokenizer = checkpoints.read_tokenizer(job.source)
    layout = planned(checkpoints.facts(job.source, tokenizer))
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


def _data(weights: Checkpoint, layout: Layout) -> Iterator[Iterable[api.Buffer]]:
    for planned in layout.planned:
        if planned.constant:
            yield [np.array(planned.constant, "<f4").tobytes()]
        elif planned.ternary:
            found = _ternary(weights, planned, layout.form)
            yield _packed(found, planned, layout.runtime)
            if planned.scale is not None:
                yield [np.array(found.scale, "<f4").tobytes()]
            weights.release(planned.source.name)
        else:
            yield _plain(weights, planned)


def _plain(weights: Checkpoint, planned: Planned) -> Iterator[api.Buffer]:
    """A tensor in pieces, whose memory is let go of one after the other."""
    source, raw = planned.source, weights.raw(planned.source.name)
    for start in range(0, raw.nbytes, _PIECE):
        piece = raw[start : start + _PIECE]
        yield piece if source.dtype == planned.tensor.dtype else _cast(piece, planned)
        weights.release(source.name)


def _cast(piece: memoryview, planned: Planned) -> bytes:
    values = ternary.widened(piece, planned.source.dtype)
    if planned.tensor.dtype == "F16" and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise ConvertError(f"tensor {planned.source.name!r} holds a value that F16 cannot hold")
    data: bytes = values.astype("<f2" if planned.tensor.dtype == "F16" else "<f4").tobytes()
    return data


def _ternary(weights: Checkpoint, planned: Planned, form: Form) -> ternary.Ternary:
    source = planned.source
    if planned.stored_scale is None:
        return ternary.from_floats(source, weights.raw(source.name), plain=form.plain)
    scale_type = next(tensor.dtype for tensor in weights.tensors if tensor.name == planned.stored_scale)
    scale = float(ternary.widened(weights.raw(planned.stored_scale), scale_type)[0])
    return ternary.from_packed(source.name, weights.raw(source.name), source.shape, scale, divides=form.divides)


def _packed(found: ternary.Ternary, planned: Planned, runtime: Runtime) -> Iterator[api.Buffer]:
    pack = packer(planned.tensor.dtype, runtime)
    for codes in found.blocks(planned.heads):
        yield pack(codes).data
    if runtime.variant is not None:
        yield formats.i2_s_tail(found.scale)


def packer(kind: str, runtime: Runtime) -> Callable[[formats.Codes], NDArray[Any]]:
    """What turns a block of codes into the bytes of a tensor of this kind."""
    if kind == "TQ1_0":
        return formats.pack_tq1_0
    if kind == "TQ2_0":
        return formats.pack_tq2_0
    if runtime.variant is not None:
        return partial(formats.pack_i2_s_codes, variant=runtime.variant)
    return lambda codes: (codes.astype(np.float16) - np.float16(1)).astype("<f2")
