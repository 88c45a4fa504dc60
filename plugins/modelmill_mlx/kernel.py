"""Weights of a checkpoint → the bytes of an MLX file, quantized by MLX block after block, several at a time."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from modelmill import ConvertError
from modelmill.checkpoint import DTYPE_BITS, Checkpoint
from modelmill_mlx.finite import check_cast
from modelmill_mlx.layout import Weight
from modelmill_mlx.predict import BLOCK_BYTES
from modelmill_mlx.ternary import TERNARY_BITS, exact

_FLOATS = {"BF16": mx.bfloat16, "F16": mx.float16, "F32": mx.float32}
_CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Some rows of a weight, on their way: the arrays that they become, `bytes` where they stay as they are.

    `checked` raises ConvertError where the rows hold what is no number, or will be none.
    """

    weight: Weight
    last: bool
    arrays: Sequence[Any]
    checked: Future[None]


def stored_bytes(checkpoint: Checkpoint, weights: Sequence[Weight], threads: int) -> Iterator[bytes | memoryview]:
    """The bytes of every tensor of every weight, in order.

    Rows are quantized independently, on MLX's CPU kernels whatever the machine has, so that neither the number of
    threads nor a GPU changes a bit. Two blocks per thread and the packed form of one weight are in memory.
    """
    mx.set_cache_limit(_CACHE_BYTES)
    streams = [mx.new_stream(mx.cpu) for _ in range(max(1, threads))]
    waiting: deque[_Block] = deque()
    finished: list[_Block] = []
    with ThreadPoolExecutor(1) as checks:  # beside the thread that reads and writes, which the others wait for
        for block in _blocks(checkpoint, weights, streams, checks):
            waiting.append(block)
            if len(waiting) > 2 * len(streams):
                yield from _finish(checkpoint, waiting.popleft(), finished)
        while waiting:
            yield from _finish(checkpoint, waiting.popleft(), finished)


def _blocks(
    checkpoint: Checkpoint, weights: Iterable[Weight], streams: Sequence[Any], checks: Executor
) -> Iterator[_Block]:
    turn = 0
    for weight in weights:
        raw = checkpoint.raw(weight.source.name)
        kinds = weight.source.dtype, weight.tensor.dtype
        if weight.quantization is None and weight.source.dtype == weight.tensor.dtype:
            checked = checks.submit(check_cast, weight.source.name, raw, *kinds)
            yield _Block(weight=weight, last=True, arrays=(raw,), checked=checked)
            continue
        width = weight.source.shape[-1]
        row = width * DTYPE_BITS[weight.source.dtype] // 8
        rows = math.prod(weight.source.shape[:-1])
        step = max(1, BLOCK_BYTES // row) if row else 1
        for start in range(0, rows, step):
            end = min(rows, start + step)
            some = raw[start * row : end * row]
            checked = checks.submit(check_cast, weight.source.name, some, *kinds)
            arrays = _start(weight, some, width, streams[turn % len(streams)])
            turn += 1
            yield _Block(weight=weight, last=end == rows, arrays=arrays, checked=checked)


def _start(weight: Weight, raw: memoryview, width: int, stream: Any) -> tuple[Any, ...]:
    """Begin to cast and quantize some rows; nothing waits."""
    buffer: Any = raw.cast("I" if weight.source.dtype == "F32" else "H")
    words = mx.array(buffer)
    values = mx.reshape(mx.view(words, _FLOATS[weight.source.dtype], stream=stream), (-1, width), stream=stream)
    if weight.source.dtype != weight.tensor.dtype:
        values = mx.astype(values, _FLOATS[weight.tensor.dtype], stream=stream)
    if weight.quantization is None:
        arrays: tuple[Any, ...] = (values,)
    else:
        how = weight.quantization
        try:
            arrays = tuple(mx.quantize(values, how.group_size, how.bits, mode=how.mode, stream=stream))
        except ValueError as error:
            raise ConvertError(f"{weight.path}: MLX cannot quantize it to {how.dtype}: {error}") from error
        if how.bits == TERNARY_BITS and how.mode == "affine":
            arrays = exact(values, arrays, how.group_size, stream)
    arrays = tuple(_plain(array, stream) for array in arrays)
    mx.async_eval(*arrays)  # type: ignore[no-untyped-call]
    return arrays


def _plain(array: Any, stream: Any) -> Any:
    """The same bits in a type that Python's buffers know; they have no bfloat16."""
    return mx.view(array, mx.uint16, stream=stream) if array.dtype == mx.bfloat16 else array


def _finish(checkpoint: Checkpoint, block: _Block, finished: list[_Block]) -> Iterator[bytes | memoryview]:
    block.checked.result()
    if isinstance(block.arrays[0], memoryview):
        yield block.arrays[0]
    else:
        mx.eval(*block.arrays)
        finished.append(block)
        if not block.last:
            return
        parts = zip(*(done.arrays for done in finished), strict=True)
        for part in [[memoryview(array) for array in arrays] for arrays in parts]:
            yield part[0] if len(part) == 1 else b"".join(part)
        finished.clear()
    checkpoint.release(block.weight.source.name)
