"""The work: the linear layers' weights to four bits, a block of rows at a time, and everything else as it is."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from modelmill import ConvertError, Job, Tensor, create
from modelmill.checkpoint import Checkpoint, facts, open_checkpoint, write_safetensors

from modelmill_compressed_tensors.plan import COPIED, WEIGHTS, Options, as_json, configuration, is_linear, layout

Floats = npt.NDArray[np.float32]
BLOCK = 1 << 20
"""Weights that are worked on at once: memory does not grow with the model."""
EPSILON = {"BF16": 2.0**-7, "F16": 2.0**-10, "F32": 2.0**-23}
"""The scale of a group of zeros, which no scale may be: as compressed_tensors' `calculate_qparams` has it."""
SHRINKS = [1 - 0.02 * step for step in range(11)]
"""The scales that are tried, relative to the one at which nothing is cut off."""


def quantize(job: Job[Options]) -> None:
    """Write the quantized checkpoint; raise ConvertError for one that is not sound."""
    found = facts(job.source)
    with open_checkpoint(job.source) as checkpoint:
        data = _data(checkpoint, job.options)
        write_safetensors(job, WEIGHTS, layout(checkpoint.tensors, job.options.group_size), data)
    config = configuration(found.config, found.tensors, job.options.group_size)
    copied = {path: (job.source / path).read_bytes() for path in found.files if path in COPIED}
    for path, content in {**copied, "config.json": as_json(config)}.items():
        with create(job, path) as file:
            file.write(content)


def _data(checkpoint: Checkpoint, options: Options) -> Iterator[memoryview | bytes | Iterable[bytes]]:
    """The bytes of each tensor of the result, in the order of `layout`."""
    for tensor in sorted(checkpoint.tensors, key=lambda tensor: tensor.name):
        raw = checkpoint.raw(tensor.name)
        if is_linear(tensor):
            scales: list[bytes] = []
            yield _codes(tensor, raw, options, scales)
            yield scales
            yield np.array(tensor.shape, "<i8").tobytes()
        else:
            yield raw
        checkpoint.release(tensor.name)


def _codes(tensor: Tensor, raw: memoryview, options: Options, scales: list[bytes]) -> Iterator[bytes]:
    """Packed codes, block by block; what the blocks' scales are is left in `scales`."""
    rows, columns = tensor.shape
    width = len(raw) // rows
    step = max(1, BLOCK // columns)
    for row in range(0, rows, step):
        values = widen(raw[row * width : (row + step) * width], tensor.dtype)
        if not np.isfinite(values).all():
            raise ConvertError(f"{tensor.name}: holds values that are not numbers; the checkpoint is damaged")
        groups = values.reshape(-1, options.group_size)
        scale = observe(groups, tensor.dtype, options.observer)
        scales.append(narrow(scale, tensor.dtype))
        yield pack(codes(groups, scale))


def observe(groups: Floats, dtype: str, observer: str) -> Floats:
    """One scale for each row of values, such as `dtype` can hold.

    The largest value becomes 7.5 steps, as in compressed_tensors' minmax observer; `mse` tries smaller scales
    too, which cut the largest off and serve the others better, and keeps the best by squared error.
    """
    largest = np.abs(groups).max(axis=1) / np.float32(7.5)
    best = _held(largest, dtype)
    if observer == "minmax":
        return best
    least = _error(groups, best)
    for shrink in SHRINKS[1:]:
        scale = _held(largest * np.float32(shrink), dtype)
        error = _error(groups, scale)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return best


def codes(groups: Floats, scale: Floats) -> Floats:
    """The nearest of the sixteen steps -8 … 7 for each value."""
    steps: Floats = groups / scale[:, None]
    np.rint(steps, out=steps)
    return np.clip(steps, -8, 7, out=steps)


def pack(steps: Floats) -> bytes:
    """Two codes to a byte, the first in the low half: eight to a little-endian word of 32 bits."""
    unsigned = (steps + np.float32(8)).astype(np.uint8).reshape(-1, 2)
    return (unsigned[:, 0] | unsigned[:, 1] << 4).astype(np.uint8).tobytes()


def widen(raw: memoryview | bytes, dtype: str) -> Floats:
    """Bytes of a safetensors tensor as float32."""
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[dtype]).astype(np.float32)


def narrow(values: Floats, dtype: str) -> bytes:
    """float32 as bytes of a safetensors tensor, rounded to nearest, ties to even."""
    if dtype == "BF16":
        bits = values.view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    return values.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()


def _held(scale: Floats, dtype: str) -> Floats:
    held = widen(narrow(scale, dtype), dtype)
    return np.where(held == 0, np.float32(EPSILON[dtype]), held)


def _error(groups: Floats, scale: Floats) -> Any:
    off = codes(groups, scale)
    off *= scale[:, None]
    off -= groups
    return np.einsum("ij,ij->i", off, off)
