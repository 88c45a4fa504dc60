"""The converter `gguf-to-huggingface`: the way in for models that ship as GGUF."""

from dataclasses import dataclass

from modelmill import Converter, ConvertError, Estimate, Facts, Job, Outlook, Refusal
from modelmill_gguf.to_huggingface_plan import SCHEMES, plan, predict

_BYTES_PER_SECOND = 100_000_000
_FIXED_SECONDS = 1.0
_FIXED_MEMORY = 55_000_000
_MEMORY_PER_BYTE = 21  # of tokenizer.json, held as Python values while it is written


@dataclass(frozen=True, slots=True, kw_only=True)
class ToHuggingFace:
    """There is nothing to choose."""


def infer(outlook: Outlook[ToHuggingFace]) -> Facts | Refusal:
    """The facts of the checkpoint, exactly."""
    try:
        return predict(outlook.facts, plan(outlook.facts, outlook.scheme))
    except ConvertError as error:
        return Refusal(reason=str(error))


def estimate(_: Outlook[ToHuggingFace], facts: Facts) -> Estimate:
    """Bytes from the facts; memory for the tools, a few rows and the vocabulary; rate measured with Q4_1."""
    bytes_out = sum(facts.files.values())
    vocabulary = facts.files.get("tokenizer.json", 0)
    return Estimate(
        bytes_out=bytes_out,
        peak_memory=_FIXED_MEMORY + _MEMORY_PER_BYTE * vocabulary,
        seconds=_FIXED_SECONDS + bytes_out / _BYTES_PER_SECOND,
    )


def _run(job: Job[ToHuggingFace]) -> None:
    from modelmill_gguf.to_huggingface_run import run

    run(job)


TO_HUGGINGFACE = Converter(
    name="gguf-to-huggingface",
    takes="gguf",
    gives="huggingface",
    schemes=SCHEMES,
    options=ToHuggingFace,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=("*.gguf",),
    tools=("gguf", "numpy"),
    requirement="modelmill[gguf]",
)
