"""What a conversion will give and cost, known from headers alone."""

from dataclasses import dataclass, replace
from math import prod

from modelmill import ConvertError, Estimate, Facts, Outlook, Refusal
from modelmill_bitnet.layout import SCHEMES, plan
from modelmill_gguf import api

FILE = "model.gguf"
_START = 90 << 20
_BYTES_PER_VALUE = 16
_VALUES_PER_SECOND = 120e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """There is nothing to choose: a ternary model has its values, and its scheme says how they lie."""


def infer(outlook: Outlook[Options]) -> Facts | Refusal:
    """The facts of the GGUF file, exact, or why it cannot be."""
    facts, scheme = outlook.facts, outlook.scheme or SCHEMES[-1]
    try:
        layout = plan(facts, scheme)
    except ConvertError as error:
        return Refusal(reason=str(error))
    fields = (*layout.fields, *layout.vocabulary.fields)
    return replace(
        facts,
        format="gguf",
        scheme=scheme,
        architecture="bitnet",
        tensors=layout.tensors,
        files={FILE: api.file_size(layout.metadata_bytes, layout.tensors)},
        quantization=scheme,
        details={
            **facts.details,
            "gguf": api.gguf_details(fields, layout.metadata_bytes, len(layout.fields) + layout.vocabulary.count),
            "tokenizer": api.tokenizer_details(layout.vocabulary),
            "held as F16": list(layout.fallbacks),
        },
    )


def estimate(outlook: Outlook[Options], facts: Facts) -> Estimate:
    """Bytes out to the byte; memory for one layer's values while they are packed."""
    sizes = [prod(tensor.shape) for tensor in facts.tensors if tensor.name.startswith("blk.")]
    return Estimate(
        bytes_out=sum(facts.files.values()),
        peak_memory=_START + _BYTES_PER_VALUE * max(sizes, default=0) + sum(outlook.facts.files.values()) // 50,
        seconds=0.5 + sum(sizes) / _VALUES_PER_SECOND,
    )
