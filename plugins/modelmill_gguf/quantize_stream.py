"""A model's tensors, one after another, as the bytes of their new types.

Rows are worked on in chunks, by several threads at once, and come out in order; only the chunks under way are in
memory. Chunks depend on shapes alone, so the number of threads shows in no byte.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError, Tensor
from modelmill_gguf import ggml
from modelmill_gguf.quantize_policy import Decision
from modelmill_gguf.tensor_types import TYPES

Read = Callable[[int, int], Any]
"""Bytes of one tensor, given where they begin in it and how many they are."""
Weights = Mapping[str, NDArray[np.float32]]
"""An importance per column of each tensor, experts one after another."""

# Half a megabyte of F16: small enough that the float32 values stay in a core's cache.
_CHUNK_VALUES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    decision: Decision
    first: int
    values: int
    weights: NDArray[np.float32] | None


def quantized(
    decisions: Sequence[Decision], open_tensor: Callable[[Tensor], Read], weights: Weights, threads: int
) -> Iterator[Iterator[Any]]:
    """For each tensor the pieces of its bytes; each must be used up before the next.

    Raises ConvertError, with the tensor's name, for values that are not finite and for importances that do not
    match its shape.
    """
    for kind in sorted({item.result.dtype for item in decisions if item.result.dtype != item.source.dtype}):
        ggml.prepare(kind)
    plans = [list(_chunks(item, weights.get(item.source.name))) for item in decisions]
    with closing(_in_order(_tasks(plans, open_tensor), threads)) as pieces:
        for plan in plans:
            yield islice(pieces, len(plan))


def _tasks(plans: Iterable[list[_Chunk]], open_tensor: Callable[[Tensor], Read]) -> Iterator[Callable[[], Any]]:
    for plan in plans:
        read = open_tensor(plan[0].decision.source)
        for chunk in plan:
            yield partial(_piece, chunk, read)


def _in_order(tasks: Iterator[Callable[[], Any]], threads: int) -> Generator[Any]:
    if threads <= 1:
        yield from (task() for task in tasks)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Any]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _chunks(item: Decision, weights: NDArray[np.float32] | None) -> Iterator[_Chunk]:
    shape = item.source.shape or (1,)
    row, experts = shape[-1], prod(shape[:-2])
    rows = prod(shape) // row // experts
    if weights is not None and len(weights) != row * experts:
        # The embedding's rows are looked up, not multiplied, so that its importances never fit.
        if "token_embd.weight" not in item.source.name and item.source.dtype != item.result.dtype:
            raise ConvertError(
                f"The importance matrix has {len(weights)} values for the tensor {item.source.name!r}, which needs "
                f"{row * experts}; make it from the same model."
            )
        weights = None
    step = max(1, _CHUNK_VALUES // row)
    for expert in range(experts):
        own = None if weights is None else weights[expert * row : (expert + 1) * row]
        for first in range(0, rows, step):
            count = min(step, rows - first)
            yield _Chunk(decision=item, first=(expert * rows + first) * row, values=count * row, weights=own)


def _piece(chunk: _Chunk, read: Read) -> Any:
    source, result = chunk.decision.source, chunk.decision.result
    kind = TYPES[source.dtype]
    raw = read(
        chunk.first // kind.block_values * kind.block_bytes, chunk.values // kind.block_values * kind.block_bytes
    )
    if source.dtype not in ("F32", "F16", "BF16"):
        return raw
    values = ggml.widen(source.dtype, raw, chunk.values)
    if not ggml.finite(values):
        raise ConvertError(
            f"The tensor {source.name!r} holds values that are NaN or infinite; the checkpoint is damaged."
        )
    if source.dtype == result.dtype:
        return raw
    try:
        return ggml.quantize(result.dtype, values, source.shape[-1], chunk.weights)
    except ConvertError as error:
        raise ConvertError(f"The tensor {source.name!r} cannot become {result.dtype}: {error}") from error
