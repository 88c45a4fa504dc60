"""What the converter into GGUF will give and take, known from the checkpoint's facts before it runs."""

from typing import Any

from modelmill import ConvertError, Estimate, Facts, Outlook, Refusal
from modelmill.checkpoint import tensor_bytes
from modelmill_gguf import files
from modelmill_gguf.details import gguf_details, tokenizer_details
from modelmill_gguf.layout import Layout, plan
from modelmill_gguf.options import ConvertOptions

_INTERPRETER = 35 * 1024**2  # Python, numpy and the plugin
_PER_TOKEN = 1100  # bytes of a vocabulary while it is read and written
_BLOCKS = 16 * 1024**2
_PAGES = 64 * 1024**2  # of the mapped weights, before they are let go of
_BYTES_PER_SECOND = 250e6
_START = 0.4


def infer(outlook: Outlook[ConvertOptions]) -> Facts | Refusal:
    """The facts of the GGUF file that a checkpoint becomes, or why it cannot."""
    facts, options = outlook.facts, outlook.options
    try:
        layout = plan(facts, outlook.scheme, options.name, outlook.lineage)
        sizes = files.sizes(layout.metadata_bytes, layout.tensors, options.split_max_size)
    except ConvertError as error:
        return Refusal(reason=str(error))
    return Facts(
        format="gguf",
        scheme=layout.scheme,
        architecture=layout.architecture.name,
        config=facts.config,
        tensors=layout.tensors,
        files=sizes,
        quantization=facts.quantization,
        licence=facts.licence,
        details=_details(facts, layout),
    )


def _details(facts: Facts, layout: Layout) -> dict[str, Any]:
    fields = (*layout.fields, *layout.vocabulary.fields)
    return {
        **facts.details,
        "gguf": gguf_details(fields, layout.metadata_bytes, len(layout.fields) + layout.vocabulary.count),
        "tokenizer": tokenizer_details(layout.vocabulary),
    }


def estimate(outlook: Outlook[ConvertOptions], facts: Facts) -> Estimate:
    """Bytes out to the byte; memory and time as measured for models of 0.1 to 8 GB."""
    largest = max((tensor_bytes(tensor) for tensor in outlook.facts.tensors), default=0)
    tokens = facts.details["tokenizer"]["tokens"]
    size = sum(facts.files.values())
    # The vocabulary is written, and let go of, before the weights are read.
    under_way = max(tokens * _PER_TOKEN, min(largest, _PAGES))
    return Estimate(
        bytes_out=size,
        peak_memory=_INTERPRETER + min(size, _BLOCKS) + under_way,
        seconds=_START + size / _BYTES_PER_SECOND,
    )
