"""Reading the header of a GGUF file: data from anywhere, so no size is believed before it is checked.

Only the standard library, so that plans can be made where no model tool is installed.
Source: ggml's docs/gguf.md.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import NoReturn

from modelmill import ConvertError, Tensor
from modelmill_gguf.fields import SIZES, Field, ValueType
from modelmill_gguf.tensor_types import BY_NUMBER, TensorType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
# ggml holds a tensor's name in 64 bytes with a zero at its end, and refuses longer keys than this.
MAX_NAME = 63
MAX_KEY = 65_535
CALCULATED = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
"""Tensors that are no weights: factors of the rotary embedding, which the converters write from config.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One tensor as the header lists it: `offset` counts from the file's start, `shape` is row-major."""

    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def tensor(self) -> Tensor:
        """The tensor itself, wherever it lies."""
        return Tensor(name=self.name, dtype=self.kind, shape=self.shape, weight=self.name not in CALCULATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All that stands before the tensors' data. `metadata_size` is the bytes of all fields together."""

    version: int
    fields: Mapping[str, Field]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    metadata_size: int
    data_start: int
    file_size: int


class _Cursor:
    """A place in a file's bytes that never moves past their end."""

    __slots__ = ("data", "name", "position", "size")

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self.data = data
        self.size = len(data)
        self.position = 0
        self.name = name

    def fail(self, problem: str) -> NoReturn:
        raise ConvertError(f"{self.name} is not a sound GGUF file: {problem}.")

    def take(self, count: int, what: str) -> bytes:
        end = self.position + count
        if end > self.size:
            self.fail(f"it ends after {self.size} bytes, inside {what}")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def uint32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def uint64(self, what: str) -> int:
        return int.from_bytes(self.take(8, what), "little")

    def text(self, limit: int, what: str) -> str:
        length = self.uint64(what)
        if length > limit:
            self.fail(f"{what} is {length} bytes long, and {limit} is the most")
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8")


def read_header(path: Path, kinds: Mapping[int, TensorType] = BY_NUMBER) -> Header:
    """Read and check the header of one GGUF file whose tensors are of these types.

    Raises ConvertError for anything that is not a sound header: a wrong magic or version, truncation, sizes
    that the file cannot hold, duplicate names, misaligned or overlapping or missing tensor data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
            raise ConvertError(f"{path.name} is not a GGUF file: it does not begin with the letters GGUF.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(_Cursor(data, path.name), kinds)


def _header(cursor: _Cursor, kinds: Mapping[int, TensorType]) -> Header:
    cursor.position = len(MAGIC)
    version = cursor.uint32("the version")
    if version not in VERSIONS:
        hint = "; it is big-endian, which no supported runtime reads" if version & 0xFFFF == 0 else ""
        cursor.fail(f"its version is {version}, and versions 2 and 3 are known{hint}")
    tensor_count = cursor.uint64("the number of tensors")
    field_count = cursor.uint64("the number of metadata keys")
    start = cursor.position
    # The smallest field takes 13 bytes, the smallest tensor entry 24: what cannot fit is not looped over.
    if field_count * 13 + tensor_count * 24 > cursor.size:
        cursor.fail(f"it lists {field_count} keys and {tensor_count} tensors, more than its bytes can hold")
    fields: dict[str, Field] = {}
    for number in range(field_count):
        field = _field(cursor, number)
        if field.key in fields:
            cursor.fail(f"the metadata key {field.key!r} stands in it twice")
        fields[field.key] = field
    metadata_size = cursor.position - start
    entries = [_entry(cursor, number, kinds) for number in range(tensor_count)]
    alignment = _alignment(cursor, fields)
    data_start = -(-cursor.position // alignment) * alignment
    return Header(
        version=version,
        fields=fields,
        tensors=_placed(cursor, entries, alignment, data_start),
        alignment=alignment,
        metadata_size=metadata_size,
        data_start=data_start,
        file_size=cursor.size,
    )


def _field(cursor: _Cursor, number: int) -> Field:
    key = cursor.text(MAX_KEY, f"metadata key {number}")
    kind = _value_type(cursor, key)
    if kind is ValueType.STRING:
        begin = cursor.position
        length = cursor.uint64(f"the value of {key!r}")
        cursor.position = begin
        return Field(key=key, kind=kind, raw=cursor.take(8 + length, f"the value of {key!r}"))
    if kind is not ValueType.ARRAY:
        return Field(key=key, kind=kind, raw=cursor.take(SIZES[kind], f"the value of {key!r}"))
    element = _value_type(cursor, key)
    count = cursor.uint64(f"the length of {key!r}")
    if element is ValueType.ARRAY:
        cursor.fail(f"{key!r} is an array of arrays, which GGUF does not have")
    if element is ValueType.STRING:
        raw = _string_array(cursor, key, count)
    else:
        raw = cursor.take(SIZES[element] * count, f"the array {key!r}")
    return Field(key=key, kind=kind, element=element, count=count, raw=raw)


def _value_type(cursor: _Cursor, key: str) -> ValueType:
    number = cursor.uint32(f"the type of {key!r}")
    if number not in ValueType._value2member_map_:
        cursor.fail(f"{key!r} has the unknown value type {number}")
    return ValueType(number)


def _string_array(cursor: _Cursor, key: str, count: int) -> bytes:
    begin = position = cursor.position
    last = cursor.size - 8
    if count > (cursor.size - begin) // 8:
        cursor.fail(f"the array {key!r} lists {count} texts, more than the file can hold")
    length_at = struct.Struct("<Q").unpack_from
    data = cursor.data
    for _ in range(count):
        if position > last:
            cursor.fail(f"it ends inside the array {key!r}")
        position += 8 + length_at(data, position)[0]
    return cursor.take(position - begin, f"the array {key!r}")


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    kind: str
    shape: tuple[int, ...]
    relative: int
    size: int


def _entry(cursor: _Cursor, number: int, kinds: Mapping[int, TensorType]) -> _Entry:
    name = cursor.text(MAX_NAME, f"the name of tensor {number}")
    count = cursor.uint32(f"the dimensions of {name!r}")
    if count > MAX_DIMENSIONS:
        cursor.fail(f"tensor {name!r} has {count} dimensions, and {MAX_DIMENSIONS} is the most")
    shape = tuple(cursor.uint64(f"the dimensions of {name!r}") for _ in range(count))[::-1]
    type_number = cursor.uint32(f"the type of {name!r}")
    relative = cursor.uint64(f"the offset of {name!r}")
    kind = kinds.get(type_number)
    if kind is None:
        cursor.fail(f"tensor {name!r} has the unknown type {type_number}")
    if shape and shape[-1] % kind.block_values:
        cursor.fail(
            f"tensor {name!r} is {kind.name}, whose blocks hold {kind.block_values} values, "
            f"but its rows have {shape[-1]}"
        )
    size = prod(shape) // kind.block_values * kind.block_bytes + kind.tail_bytes
    return _Entry(name, kind.name, shape, relative, size)


def _alignment(cursor: _Cursor, fields: Mapping[str, Field]) -> int:
    field = fields.get("general.alignment")
    if field is None:
        return DEFAULT_ALIGNMENT
    found = int.from_bytes(field.raw, "little") if field.kind is ValueType.UINT32 else 0
    if found <= 0 or found & (found - 1):
        cursor.fail("general.alignment is not a power of two in a uint32")
    return found


def _placed(cursor: _Cursor, entries: list[_Entry], alignment: int, data_start: int) -> tuple[TensorInfo, ...]:
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            cursor.fail(f"tensor {entry.name!r} stands in it twice")
        seen.add(entry.name)
        if entry.relative % alignment:
            cursor.fail(f"tensor {entry.name!r} begins at {entry.relative}, no multiple of {alignment}")
        if data_start + entry.relative + entry.size > cursor.size:
            cursor.fail(
                f"tensor {entry.name!r} needs {entry.size} bytes at {data_start + entry.relative}, "
                f"but the file ends after {cursor.size}"
            )
    ordered = sorted(entries, key=lambda entry: (entry.relative, entry.size))
    for before, after in pairwise(ordered):
        if before.relative + before.size > after.relative:
            cursor.fail(f"the data of tensors {before.name!r} and {after.name!r} overlap")
    next_at = 0
    for entry in entries:  # as llama.cpp's reader has it (ggml/src/gguf.cpp): one after the other, without gaps
        if entry.relative != next_at:
            cursor.fail(f"tensor {entry.name!r} begins at {entry.relative}, where {next_at} is the next place")
        next_at = -(-(entry.relative + entry.size) // alignment) * alignment
    return tuple(
        TensorInfo(
            name=entry.name,
            kind=entry.kind,
            shape=entry.shape,
            offset=data_start + entry.relative,
            size=entry.size,
        )
        for entry in entries
    )
