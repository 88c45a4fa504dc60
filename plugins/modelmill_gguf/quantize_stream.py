"""A model's tensors, one after another, as the bytes of their new types.

Blocks of rows are worked on by several threads at once and come out in order; only the blocks under way are in
memory. Every row is quantized by itself, so that neither the blocks nor the number of threads show in any byte.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill import ConvertError, Tensor
from modelmill_gguf import ggml
from modelmill_gguf.imatrix_weights import Weights
from modelmill_gguf.quantize_policy import READABLE, Decision, check_importance

# Half a megabyte of F16: small enough that the float32 values stay in a core's cache.
BLOCK_VALUES = 1 << 18
_AHEAD = 32
"""Blocks that may be done before those before them are written: with few, threads wait whenever the writer does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some whole rows of one tensor: `load` gives the `values` numbers as the source has them, from `first` on.

    A block never crosses from one expert's matrix into the next.
    """

    first: int
    values: int
    load: Callable[[], Any]


def row_blocks(shape: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where blocks of a tensor of this shape begin, and how many values each has."""
    row, matrix = shape[-1], prod(shape[-2:])
    step = max(1, BLOCK_VALUES // row) * row
    for start in range(0, prod(shape), matrix):
        for first in range(0, matrix, step):
            yield start + first, min(step, matrix - first)


def quantized(
    decisions: Sequence[Decision], blocks: Callable[[Tensor], Iterable[Block]], weights: Weights, threads: int
) -> Iterator[Iterator[Any]]:
    """For each tensor the pieces of its bytes; each must be used up before the next.

    Raises ConvertError, with the tensor's name, for values that are not finite and for importances that do not
    match its shape.
    """
    for kind in sorted({item.result.dtype for item in decisions if item.result.dtype != item.source.dtype}):
        ggml.prepare(kind)
    with closing(_in_order(_tasks(decisions, blocks, weights), threads)) as pieces:
        for _, group in groupby(pieces, key=lambda piece: piece[0]):
            yield (data for _, data in group)


def _tasks(
    decisions: Sequence[Decision], blocks: Callable[[Tensor], Iterable[Block]], weights: Weights
) -> Iterator[Callable[[], tuple[int, Any]]]:
    for number, item in enumerate(decisions):
        importances = _matching(item, weights.get(item.source.name))
        row, matrix = item.source.shape[-1], prod(item.source.shape[-2:])
        for block in blocks(item.source):
            expert = block.first // matrix
            own = None if importances is None else importances[expert * row : (expert + 1) * row]
            yield partial(_numbered, number, item, block, own)


def _in_order(tasks: Iterator[Callable[[], Any]], threads: int) -> Generator[Any]:
    if threads <= 1:
        yield from (task() for task in tasks)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Any]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                if len(pending) > max(_AHEAD, 2 * threads):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _matching(item: Decision, weights: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    return weights if weights is not None and check_importance(item, len(weights)) else None


def _numbered(number: int, item: Decision, block: Block, weights: NDArray[np.float32] | None) -> tuple[int, Any]:
    return number, _piece(item, block, weights)


def _piece(item: Decision, block: Block, weights: NDArray[np.float32] | None) -> Any:
    source, result = item.source, item.result
    raw = block.load()
    if source.dtype not in READABLE:
        return raw
    values = ggml.widen(source.dtype, raw, block.values)
    if not ggml.finite(values):
        raise ConvertError(
            f"The tensor {source.name!r} holds values that are NaN or infinite; the checkpoint is damaged."
        )
    if source.dtype == result.dtype:
        return raw
    try:
        return ggml.quantize(result.dtype, values, source.shape[-1], weights)
    except ConvertError as error:
        raise ConvertError(f"The tensor {source.name!r} cannot become {result.dtype}: {error}") from error
