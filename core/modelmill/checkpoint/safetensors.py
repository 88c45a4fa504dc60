"""The safetensors file format: bounded headers, and streaming files out.

The format: eight bytes little-endian header size, a JSON header of name → dtype, shape, data_offsets, then
the tensors' bytes without holes (https://huggingface.co/docs/safetensors, `safetensors/src/tensor.rs`).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.checkpoint.jsonfile import parse_object
from modelmill.errors import ConvertError
from modelmill.output import create
from modelmill.types import Job, Tensor

HEADER_LIMIT = 16 * 1024**2
"""Bytes; room for some 100,000 tensors in one file. The format's own limit is 100 MB, but a hostile header
takes some 20 times its size as Python values, and no real file has come near."""
MAX_DIMENSIONS = 8
_POINTER = b"version "  # how the text begins that git leaves in the place of a file that Git LFS holds

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of a file and the bytes [start, end) of that file that hold it."""

    tensor: Tensor
    start: int
    end: int


def tensor_bytes(tensor: Tensor) -> int:
    """The bytes that a tensor takes in a safetensors file."""
    return math.prod(tensor.shape) * DTYPE_BITS[tensor.dtype] // 8


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of a file by name, in the order of their bytes.

    ConvertError for a header that claims more than the file has, an unknown dtype, a size that does not
    follow from shape and dtype, and bytes that overlap or belong to nobody.
    """
    data, size = _read(path)
    return parse_header(data, size - 8 - len(data), path.name)


def read_metadata(path: Path) -> dict[str, str]:
    """The free text that a file's writer left in its header, such as `format`. The errors of `read_header`."""
    data, _ = _read(path)
    return _metadata(parse_object(data, f"{path.name}: the header"), path.name)


def _read(path: Path) -> tuple[bytes, int]:
    """A file's header and its whole size."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            prefix = file.read(8)
            length = _header_length(prefix, size, path.name)
            data = file.read(length)
    except FileNotFoundError:
        raise ConvertError(f"{path.name}: there is no such file in the checkpoint") from None
    except OSError as error:
        raise ConvertError(f"{path.name}: cannot be read: {error.strerror}") from None
    if len(data) != length:
        raise ConvertError(f"{path.name}: ends in the middle of its header; fetch it again")
    return data, size


def _metadata(header: dict[str, Any], name: str) -> dict[str, str]:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or any(not isinstance(value, str) for value in metadata.values()):
        raise ConvertError(f"{name}: __metadata__ does not map names to text")
    return metadata


def _header_length(prefix: bytes, size: int, name: str) -> int:
    if len(prefix) < 8:  # noqa: PLR2004 - the size of the size
        raise ConvertError(f"{name}: {size} bytes are too few for a safetensors file; fetch it again")
    if prefix == _POINTER:
        raise ConvertError(f"{name}: is a pointer of Git LFS, not the file that it stands for; run `git lfs pull`")
    length = int.from_bytes(prefix, "little")
    if length > size - 8:
        raise ConvertError(
            f"{name}: its header claims {length:,} bytes where the file has {size - 8:,}: "
            "it is cut short or not a safetensors file"
        )
    if length > HEADER_LIMIT:
        raise ConvertError(f"{name}: a header of {length:,} bytes is more than the {HEADER_LIMIT:,} allowed")
    return length


def parse_header(data: bytes, room: int, name: str) -> dict[str, Entry]:
    """The entries of a header whose file has `room` bytes of tensors; the errors of `read_header`."""
    header = parse_object(data, f"{name}: the header")
    _metadata(header, name)
    start = 8 + len(data)
    entries = [_entry(key, value, start, name) for key, value in header.items()]
    entries.sort(key=lambda entry: (entry.start, entry.end))
    at = start
    for entry in entries:
        if entry.start != at:
            kind = "overlaps the tensor before it" if entry.start < at else "leaves unused bytes before it"
            raise ConvertError(f"{name}: tensor {entry.tensor.name!r} {kind}")
        at = entry.end
    if at != start + room:
        raise ConvertError(
            f"{name}: its tensors take {at - start:,} bytes where the file has {room:,}: it is cut short or damaged"
        )
    return {entry.tensor.name: entry for entry in entries}


def _entry(key: str, value: Any, start: int, file: str) -> Entry:
    where = f"{file}: tensor {key!r}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ConvertError(f"{where} does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise ConvertError(f"{where} has the dtype {dtype!r}, which safetensors does not know")
    if not _sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise ConvertError(f"{where} has a shape that is none: {_short(shape)}")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - begin and end
        raise ConvertError(f"{where} has data_offsets that are none: {_short(offsets)}")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        raise ConvertError(
            f"{where} of shape {shape} and {dtype} takes {bits // 8:,} bytes, its data_offsets hold "
            f"{offsets[1] - offsets[0]:,}"
        )
    tensor = Tensor(name=key, dtype=dtype, shape=tuple(shape))
    return Entry(tensor=tensor, start=start + offsets[0], end=start + offsets[1])


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."  # noqa: PLR2004 - a sentence stays readable


def header_bytes(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> bytes:
    """The first bytes of a file that holds these tensors in this order, padded to eight with spaces."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for tensor in tensors:
        end = at + tensor_bytes(tensor)
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


METADATA: Mapping[str, str] = {"format": "pt"}
"""What transformers wants to see before it loads a file: whose tensors these are."""


def safetensors_size(tensors: Sequence[Tensor], metadata: Mapping[str, str] = METADATA) -> int:
    """The exact size of the file that `write_safetensors` makes of these tensors."""
    return len(header_bytes(tensors, metadata)) + sum(map(tensor_bytes, tensors))


def write_safetensors(
    job: Job[Any],
    path: str,
    tensors: Sequence[Tensor],
    data: Iterable[Buffer | Iterable[Buffer]],
    metadata: Mapping[str, str] = METADATA,
) -> None:
    """Write `path` under the job's `out`: these tensors in this order, `data` yielding the bytes of each.

    A tensor's bytes come whole or in pieces of any size, so that no more than a piece need be in memory.
    ConvertError where the bytes are not what dtype and shape ask for.
    """
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ConvertError(f"{path}: two tensors would have the same name")
    with create(job, path) as file:
        file.write(header_bytes(tensors, metadata))
        for tensor, part in zip(tensors, data, strict=True):
            pieces = (part,) if isinstance(part, bytes | bytearray | memoryview) else part
            written = sum(file.write(piece) for piece in pieces)
            if written != tensor_bytes(tensor):
                raise ConvertError(
                    f"{path}: tensor {tensor.name!r} of shape {list(tensor.shape)} and {tensor.dtype} takes "
                    f"{tensor_bytes(tensor):,} bytes, {written:,} were made"
                )
