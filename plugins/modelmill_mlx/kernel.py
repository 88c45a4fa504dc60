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
from modelmill_mlx.predict import BLOCK_BYTES, WAITING
from modelmill_mlx.schemes import Quantization
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


def stored_bytes(checkpoint: Checkpoint, weights: Sequence[Weight], threads: int) -> Iterator[Iterable[memoryview]]:
    """The bytes of every tensor of every weight, in order, each in pieces that must be used up before the next.

    Rows are quantized independently, on MLX's CPU kernels whatever the machine has, so that neither the number of
    threads nor a GPU changes a bit. WAITING blocks per thread, and the scales of one weight, are in memory.
    """
    mx.set_cache_limit(_CACHE_BYTES)
    streams = [mx.new_stream(mx.cpu) for _ in range(max(1, threads))]
    with ThreadPoolExecutor(1) as checks:  # beside the thread that reads and writes, which the others wait for
        finished = _finished(checkpoint, _blocks(checkpoint, weights, streams, checks), WAITING * len(streams))
        for weight in weights:
            rest: list[Sequence[Any]] = []
            yield _first(finished, rest)
            for part in range(len(weight.stored) - 1):
                yield [memoryview(arrays[part]) for arrays in rest]


def _finished(checkpoint: Checkpoint, blocks: Iterable[_Block], under_way: int) -> Iterator[_Block]:
    """The blocks in order as they are done, so many others under way; ConvertError for values that are no numbers."""
    waiting: deque[_Block] = deque()
    for block in blocks:
        waiting.append(block)
        if len(waiting) > under_way:
            yield from _finish(checkpoint, waiting.popleft())
    while waiting:
        yield from _finish(checkpoint, waiting.popleft())


def _finish(checkpoint: Checkpoint, block: _Block) -> Iterator[_Block]:
    block.checked.result()
    if not isinstance(block.arrays[0], memoryview):
        mx.eval(*block.arrays)
    yield block
    if block.last:
        checkpoint.release(block.weight.source.name)


def _first(finished: Iterator[_Block], rest: list[Sequence[Any]]) -> Iterator[memoryview]:
    """The first tensor of a weight, block after block; what each block has beside it is put into `rest`."""
    for block in finished:
        rest.append(block.arrays[1:])
        yield memoryview(block.arrays[0])
        if block.last:
            return


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
    arrays = (values,) if weight.quantization is None else _quantized(weight, weight.quantization, values, stream)
    arrays = tuple(_plain(array, stream) for array in arrays)
    mx.async_eval(*arrays)  # type: ignore[no-untyped-call]
    return arrays


def _quantized(weight: Weight, how: Quantization, values: Any, stream: Any) -> tuple[Any, ...]:
    """Words, scales and biases (of mode affine) of some rows.

    The affine kernel calculates in float32 whatever it is given, and is a third faster if it need not widen each
    value by itself: values are widened before, and scales and biases rounded after it as the kernel does.
    """
    affine = how.mode == "affine"
    wide = mx.astype(values, mx.float32, stream=stream) if affine else values
    try:
        arrays = tuple(mx.quantize(wide, how.group_size, how.bits, mode=how.mode, stream=stream))
    except ValueError as error:
        raise ConvertError(f"{weight.path}: MLX cannot quantize it to {how.dtype}: {error}") from error
    if affine:
        arrays = (arrays[0], *(mx.astype(array, values.dtype, stream=stream) for array in arrays[1:]))
    if affine and how.bits == TERNARY_BITS:
        return exact(values, arrays, how.group_size, stream)
    return arrays


def _plain(array: Any, stream: Any) -> Any:
    """The same bits in a type that Python's buffers know; they have no bfloat16."""
    return mx.view(array, mx.uint16, stream=stream) if array.dtype == mx.bfloat16 else array
