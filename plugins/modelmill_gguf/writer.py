"""Writing a GGUF file from front to back, its exact size known before the first byte.

Source: ggml's docs/gguf.md, version 3. Tensor data are padded to the alignment, the last one too, as
llama.cpp's own tools do.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from modelmill import ConvertError, Job, Tensor, create
from modelmill_gguf.fields import Buffer, Field, pack_string, packed, packed_size
from modelmill_gguf.header import DEFAULT_ALIGNMENT, MAGIC, MAX_NAME
from modelmill_gguf.tensor_types import byte_size, type_named

_VERSION = 3


def padded(size: int, alignment: int = DEFAULT_ALIGNMENT) -> int:
    """The next multiple of the alignment."""
    return -(-size // alignment) * alignment


def metadata_size(fields: Iterable[Field]) -> int:
    """The bytes of all fields together."""
    return sum(map(packed_size, fields))


def data_start(metadata: int, tensors: Iterable[Tensor], alignment: int = DEFAULT_ALIGNMENT) -> int:
    """Where tensor data begin in a file whose fields take `metadata` bytes."""
    entries = sum(8 + len(tensor.name.encode()) + 4 + 8 * len(tensor.shape) + 4 + 8 for tensor in tensors)
    return padded(4 + 4 + 8 + 8 + metadata + entries, alignment)


def file_size(metadata: int, tensors: Sequence[Tensor], alignment: int = DEFAULT_ALIGNMENT) -> int:
    """The bytes of the whole file."""
    data = sum(padded(byte_size(tensor.dtype, tensor.shape), alignment) for tensor in tensors)
    return data_start(metadata, tensors, alignment) + data


def header_bytes(fields: Sequence[Field], tensors: Sequence[Tensor], alignment: int = DEFAULT_ALIGNMENT) -> bytes:
    """Everything that stands before the tensor data, padding included."""
    parts = [MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(fields)), *map(packed, fields)]
    offset = 0
    for tensor in tensors:
        name = tensor.name.encode()
        if len(name) > MAX_NAME:
            raise ConvertError(f"Tensor {tensor.name!r} cannot be stored: GGUF holds {MAX_NAME} bytes of a name.")
        count = len(tensor.shape)
        parts.append(pack_string(name))
        parts.append(struct.pack(f"<I{count}Q", count, *reversed(tensor.shape)))
        parts.append(struct.pack("<IQ", type_named(tensor.dtype).number, offset))
        offset += padded(byte_size(tensor.dtype, tensor.shape), alignment)
    size = sum(map(len, parts))
    parts.append(bytes(padded(size, alignment) - size))
    return b"".join(parts)


def write(
    job: Job[Any],
    path: str,
    *,
    fields: Sequence[Field],
    tensors: Sequence[Tensor],
    data: Iterable[Iterable[Buffer]],
    alignment: int = DEFAULT_ALIGNMENT,
) -> None:
    """Write a GGUF file into the job's output.

    `tensors` have GGUF's type names and row-major shapes; `data` gives each tensor's bytes in that order, in
    pieces of any size, so that no more than a piece need be in memory.
    """
    with create(job, path) as output:
        output.write(header_bytes(fields, tensors, alignment))
        for tensor, pieces in zip(tensors, data, strict=True):
            written = sum(output.write(piece) for piece in pieces)
            expected = byte_size(tensor.dtype, tensor.shape)
            if written != expected:
                raise ConvertError(
                    f"Tensor {tensor.name!r} came with {written} bytes; its type and shape take {expected}."
                )
            output.write(bytes(padded(written, alignment) - written))
