"""The fused way from a checkpoint to a quantized GGUF model, as the engine sees it."""

from dataclasses import dataclass
from math import prod

from modelmill import Converter, Estimate, Facts, Job, Outlook, Refusal
from modelmill_gguf import kernels, offers, quantize_record
from modelmill_gguf.options import ConvertOptions
from modelmill_gguf.quantize_policy import SCHEMES, QuantizeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedOptions(QuantizeOptions):
    """What the converter and the quantizer may be told, together."""

    name: str | None = None


def infer(outlook: Outlook[FusedOptions]) -> Facts | Refusal:
    """What the chain would give."""
    converted = _converted(outlook)
    if isinstance(converted, Refusal):
        return converted
    return quantize_record.infer(_second(outlook, converted))


def estimate(outlook: Outlook[FusedOptions], facts: Facts) -> Estimate:
    """The time of quantizing, and the memory of both halves."""
    converted = _converted(outlook)
    if isinstance(converted, Refusal):
        return Estimate(bytes_out=0, peak_memory=0, seconds=0)
    first = offers.FROM_HUGGINGFACE.estimate(_first(outlook), converted)
    second = quantize_record.estimate(_second(outlook, converted), facts)
    values = sum(prod(tensor.shape) for tensor in facts.tensors)
    return Estimate(
        bytes_out=second.bytes_out,
        peak_memory=max(first.peak_memory, second.peak_memory),
        seconds=second.seconds + 2 * values / 2e9,
    )


def _first(outlook: Outlook[FusedOptions]) -> Outlook[ConvertOptions]:
    return Outlook(
        facts=outlook.facts,
        scheme=None,
        options=ConvertOptions(name=outlook.options.name),
        lineage=outlook.lineage,
    )


def _second(outlook: Outlook[FusedOptions], converted: Facts) -> Outlook[QuantizeOptions]:
    return Outlook(facts=converted, scheme=outlook.scheme, options=outlook.options, inputs=outlook.inputs)


def _converted(outlook: Outlook[FusedOptions]) -> Facts | Refusal:
    return offers.FROM_HUGGINGFACE.infer(_first(outlook))


def _run(job: Job[FusedOptions]) -> None:
    from modelmill_gguf.fused import run

    run(job)


FUSED: Converter[FusedOptions] = Converter(
    name="huggingface-to-quantized-gguf",
    takes="huggingface",
    gives="gguf",
    schemes=SCHEMES,
    options=FusedOptions,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=offers.FROM_HUGGINGFACE.reads,
    inputs=quantize_record.QUANTIZER.inputs,
    tools=tuple(sorted({*offers.FROM_HUGGINGFACE.tools, *quantize_record.QUANTIZER.tools})),
    requirement=quantize_record.QUANTIZER.requirement,
    more_tools=kernels.more_tools,
    uses_lineage=True,
    replaces=("huggingface-to-gguf", "gguf-quantize"),
)
