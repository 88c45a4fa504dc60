"""The metadata of a quantized GGUF file: the source's, and what llama.cpp's quantizer adds to it.

Source: llama.cpp, src/llama-quant.cpp and tools/quantize/quantize.cpp.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from modelmill_gguf import file_types
from modelmill_gguf.fields import Field, string, uint32

# GGML_QNT_VERSION.
QUANTIZATION_VERSION = 2
# What llama.cpp keeps of a text that it is told to set.
_LONGEST_TEXT = 127

DROPPED = frozenset({"split.no", "split.count", "split.tensors.count"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceSummary:
    """What a quantized file says about the importance matrix: its file, its text, how much it covers."""

    file: str
    dataset: str | None
    entries: int
    chunks: int


def added_fields(scheme: str, importance: ImportanceSummary | None) -> list[Field]:
    """The keys that quantizing sets, in their order."""
    added = [
        uint32("general.quantization_version", QUANTIZATION_VERSION),
        uint32("general.file_type", file_types.NUMBERS[scheme]),
    ]
    if importance is not None:
        added.append(_short("quantize.imatrix.file", importance.file))
        if importance.dataset is not None:
            added.append(_short("quantize.imatrix.dataset", importance.dataset))
        added.append(uint32("quantize.imatrix.entries_count", importance.entries))
        if importance.chunks > 0:
            added.append(uint32("quantize.imatrix.chunks_count", importance.chunks))
    return added


def quantized_fields(fields: Iterable[Field], scheme: str, importance: ImportanceSummary | None) -> list[Field]:
    """The fields of the result: those set anew come last, as llama.cpp leaves them."""
    added = added_fields(scheme, importance)
    gone = DROPPED | {field.key for field in added}
    return [field for field in fields if field.key not in gone] + added


def _short(key: str, text: str) -> Field:
    return string(key, text.encode()[:_LONGEST_TEXT].decode(errors="ignore"))
