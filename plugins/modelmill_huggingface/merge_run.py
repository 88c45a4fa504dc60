"""The work of `merge-lora`: every shard written again with the same header, its tensors changed as they pass."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from modelmill import ConvertError, Job, Tensor, create
from modelmill.checkpoint import DTYPE_BITS, Checkpoint, Entry, find_tensors, open_checkpoint, read_header
from modelmill.checkpoint import facts as checkpoint_facts
from modelmill_huggingface import adapter, carry, lowrank, merge
from modelmill_huggingface.adapter import Change
from modelmill_huggingface.lowrank import Bits, Floats, Narrow
from modelmill_huggingface.merge import MergeLora
from modelmill_huggingface.values import widen

_CHUNK = 1 << 22
_VALUES_AT_ONCE = 1 << 20
_NARROW: Mapping[str, Narrow] = {"F32": lowrank.as_float32, "F16": lowrank.as_float16, "BF16": lowrank.as_bfloat16}
_EXPONENT = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80}
"""The bits that are all set where a value is infinite or no number."""


def run(job: Job[MergeLora]) -> None:
    """Write the merged checkpoint. ConvertError for an adapter that is not sound, or another model's."""
    found = checkpoint_facts(job.source)
    base = {tensor.name: tensor for tensor in found.tensors}
    folder = job.inputs["adapter"]
    changes = merge.check(adapter.facts(folder), base, tied=merge.is_tied(found))
    touched = {change.target: change for change in changes}
    weights = _Weights(folder / adapter.WEIGHTS)
    placed = find_tensors(job.source)
    shards = sorted({placed[name].file for name in touched})
    carry.carry(job, but=shards)
    with open_checkpoint(job.source) as checkpoint:
        for shard in shards:
            _shard(job, shard, checkpoint, weights, touched)


class _Weights:
    """The tensors of an adapter's file, read when they are wanted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: Mapping[str, Entry] = read_header(path)

    def values(self, name: str) -> Floats:
        """One tensor in float32. ConvertError for one that holds infinities or no numbers."""
        rows = math.prod(self._entries[name].tensor.shape[:-1])
        return self.rows(name, 0, rows).reshape(self._entries[name].tensor.shape)

    def rows(self, name: str, at: int, end: int) -> Floats:
        """Some rows of a tensor, likewise."""
        entry = self._entries[name]
        width = entry.tensor.shape[-1] if entry.tensor.shape else 1
        row_bytes = width * DTYPE_BITS[entry.tensor.dtype] // 8
        with self._path.open("rb") as file:
            file.seek(entry.start + at * row_bytes)
            raw = file.read((end - at) * row_bytes)
        found = widen(entry.tensor.dtype, (end - at, width), memoryview(raw))
        if not np.isfinite(found).all():
            raise ConvertError(f"{adapter.WEIGHTS}: the tensor {name!r} holds values that are no numbers")
        return found


def _shard(
    job: Job[MergeLora], shard: str, checkpoint: Checkpoint, weights: _Weights, touched: Mapping[str, Change]
) -> None:
    """The header stays as it is, byte for byte: merging changes no name, shape, dtype or place."""
    source = job.source / shard
    entries = read_header(source)
    with create(job, shard) as file:
        with source.open("rb") as reader:
            file.write(reader.read(min((entry.start for entry in entries.values()), default=0)))
        for name, entry in entries.items():
            raw = checkpoint.raw(name)
            if name in touched:
                for piece in _changed(entry.tensor, raw, touched[name], weights):
                    file.write(piece.data)
            else:
                for at in range(0, len(raw), _CHUNK):
                    file.write(raw[at : at + _CHUNK])
            checkpoint.release(name)


def _changed(tensor: Tensor, raw: memoryview, change: Change, weights: _Weights) -> Iterator[Bits]:
    """A tensor's new bytes, some rows at a time. ConvertError where they hold infinities or no numbers."""
    for piece in _pieces(tensor, raw, change, weights):
        if ((piece & piece.dtype.type(_EXPONENT[tensor.dtype])) == _EXPONENT[tensor.dtype]).any():
            raise ConvertError(
                f"tensor {tensor.name!r} would hold values that {tensor.dtype} cannot: infinite, or no numbers"
            )
        yield piece


def _pieces(tensor: Tensor, raw: memoryview, change: Change, weights: _Weights) -> Iterator[Bits]:
    width = tensor.shape[-1] if tensor.shape else 1
    rows = math.prod(tensor.shape[:-1])
    row_bytes = len(raw) // max(1, rows)
    narrow, step = _NARROW[tensor.dtype], max(1, _VALUES_AT_ONCE // max(1, width))
    if change.rank:
        down, up = weights.values(change.down), weights.values(change.up)
        if change.transposed:  # (B A)ᵀ = Aᵀ Bᵀ
            up, down = down.T, up.T
    for at in range(0, rows, step):
        end = min(at + step, rows)
        base = (
            widen(tensor.dtype, (end - at, width), raw[at * row_bytes : end * row_bytes])
            if not change.whole
            else weights.rows(change.whole, at, end)
        )
        yield lowrank.merged(base, up[at:end], down, change.scale, narrow) if change.rank else narrow(base)
