"""The work of `gguf-to-huggingface`: widen every tensor and write the files that the plan names."""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from modelmill import ConvertError, Facts, Job, Tensor, create
from modelmill.checkpoint import write_safetensors
from modelmill_gguf import to_huggingface_tokenizer as tokenizers
from modelmill_gguf.architectures.table import Change
from modelmill_gguf.fields import Field
from modelmill_gguf.header import TensorInfo
from modelmill_gguf.model import read_model
from modelmill_gguf.tensor_types import TYPES
from modelmill_gguf.to_huggingface import ToHuggingFace
from modelmill_gguf.to_huggingface_details import describe, read_words, sentencepiece_file
from modelmill_gguf.to_huggingface_plan import Rebuilt, Restored, plan
from modelmill_gguf.to_huggingface_sentencepiece import merges_of

_VALUES_AT_ONCE = 1 << 18

Floats = NDArray[np.float32]


def run(job: Job[ToHuggingFace]) -> None:
    """Write the checkpoint. Raises ConvertError for a file that is not sound or cannot be rebuilt."""
    model = read_model(job.source)
    details = describe(model.fields)
    tensors = tuple(info.tensor for _, info in model.tensors)
    rebuilt = plan(Facts(format="gguf", tensors=tensors, details={"checkpoint": details}), job.scheme)
    for name, content in rebuilt.small.items():
        with create(job, name) as file:
            file.write(content)
    _write_tokenizer(job, model.fields, rebuilt, details["metadata"])
    places = {info.name: (part.path, info) for part, info in model.tensors}
    maps = {part.path: _mapped(part.path) for part in model.parts}
    sources = [places[each.source.name] for each in rebuilt.tensors]
    write_safetensors(
        job,
        "model.safetensors",
        [each.tensor for each in rebuilt.tensors],
        (_restored(maps[path], info, each) for (path, info), each in zip(sources, rebuilt.tensors, strict=True)),
    )


def _mapped(path: Path) -> mmap.mmap:
    """A file's bytes. The map goes with its last view; closing it earlier would mask an error that still holds one."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _write_tokenizer(
    job: Job[ToHuggingFace], fields: Mapping[str, Field], rebuilt: Rebuilt, metadata: Mapping[str, Any]
) -> None:
    words = read_words(fields)
    if words is None or rebuilt.definition is None:
        return
    merges = words.merges
    if rebuilt.vocabulary["pieces"]:
        merges = merges_of(words.tokens, words.types, words.scores)
        with create(job, "tokenizer.model") as file:
            file.write(sentencepiece_file(words, metadata))
    with create(job, "tokenizer.json") as file:
        file.write(tokenizers.full_definition(rebuilt.definition, list(words.used()), merges))


def _restored(data: mmap.mmap, info: TensorInfo, restored: Restored) -> Iterator[bytes]:
    """The bytes of one tensor in its new type, some rows at a time."""
    is_permuted = restored.change in (Change.PERMUTE_QUERY, Change.PERMUTE_KEY)
    row = 1 if is_permuted and len(info.shape) == 1 else info.shape[-1]  # each value of a bias is a row
    kind = TYPES[info.kind]
    row_bytes = row // kind.block_values * kind.block_bytes
    raw = np.frombuffer(data, np.uint8, info.size, info.offset).reshape(-1, row_bytes)
    order = _order(len(raw), restored)
    step = max(1, _VALUES_AT_ONCE // row)
    for at in range(0, len(raw), step):
        rows = raw[at : at + step] if order is None else raw[order[at : at + step]]
        # As one long row: gguf's kernels take rows in groups of sixteen, which costs more than the work.
        values = (
            dequantize(rows.reshape(1, -1), GGMLQuantizationType[info.kind]).astype(np.float32, copy=False).reshape(-1)
        )
        if restored.change is Change.PLUS_ONE:
            values = values - np.float32(1)
        yield _narrowed(values, restored.tensor).tobytes()
    del raw
    _forget(data, info)


def _forget(data: mmap.mmap, info: TensorInfo) -> None:
    """Let the file's pages go, so that memory does not grow with the model."""
    if hasattr(mmap, "MADV_DONTNEED"):
        start = info.offset // mmap.PAGESIZE * mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, start, info.offset + info.size - start)


def _order(rows: int, restored: Restored) -> NDArray[np.int64] | None:
    """Which row of the GGUF tensor each row comes from: pairs (x0 y0 x1 y1 …) of a head go back to halves."""
    if restored.change not in (Change.PERMUTE_QUERY, Change.PERMUTE_KEY):
        return None
    pairs = np.arange(rows).reshape(restored.heads, rows // restored.heads // 2, 2)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(-1)


def _narrowed(values: Floats, tensor: Tensor) -> NDArray[np.generic]:
    """Values in a safetensors dtype, rounded to the nearest, ties to even. ConvertError where they do not fit."""
    if not _finite(values):
        raise ConvertError(f"tensor {tensor.name!r} holds values that are no numbers; the GGUF file is damaged")
    if tensor.dtype == "F32":
        return np.ascontiguousarray(values)
    if tensor.dtype == "F16":
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.isfinite(halves).all():
            raise ConvertError(f"tensor {tensor.name!r} holds values beyond F16; use BF16")
        return halves
    bits = values.view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    return rounded.astype(np.uint16)


def _finite(values: Floats) -> bool:
    """Whether no value is NaN or infinite; the sum of squares is cheaper than a look at each, and mostly enough."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.dot(values, values)
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())
