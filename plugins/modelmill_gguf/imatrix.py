"""Importance matrices: how much each column of each weight matrix matters, in llama.cpp's two file formats.

Only the standard library, because plans look at them. Sources: llama.cpp, common/imatrix-loader.cpp (both formats)
and tools/imatrix/imatrix.cpp (what is written).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmill import ConvertError, Facts, Format, Tensor
from modelmill_gguf.fields import Field, ValueType, value
from modelmill_gguf.header import MAGIC, TensorInfo, read_header
from modelmill_gguf.quantize_metadata import ImportanceSummary

SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNK_COUNT, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
# The types that llama.cpp reads: kind, and that of an array's elements.
_KINDS = {
    DATASETS: (ValueType.ARRAY, ValueType.STRING),
    CHUNK_COUNT: (ValueType.UINT32, None),
    CHUNK_SIZE: (ValueType.UINT32, None),
}
_LONGEST_NAME = 1024
_PARTS = 2  # a matrix's sums and its counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where the sums of squares for one matrix lie: `values` floats at `offset`.

    In the newer format `counts` is where the number of tokens behind them lies, one per expert, and how many those
    are; in the legacy format the sums are means already, multiplied by `calls`.
    """

    offset: int
    values: int
    counts: tuple[int, int] | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceFile:
    """One importance matrix file: its entries by tensor name, and what it was made from."""

    path: Path
    entries: Mapping[str, Entry]
    datasets: tuple[str, ...]
    chunks: int

    def summary(self) -> ImportanceSummary:
        """What a file quantized with it says about it."""
        return ImportanceSummary(
            file=self.path.name,
            dataset=self.datasets[0] if self.datasets else None,
            entries=len(self.entries),
            chunks=self.chunks,
        )


def open_imatrix(folder: Path) -> ImportanceFile:
    """The importance matrix that a folder holds; raises ConvertError for what is none."""
    found = _candidates(folder)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ConvertError(f"An importance matrix is one .gguf, .dat or .imatrix file, and the folder holds {names}.")
    with found[0].open("rb") as file:
        new = file.read(len(MAGIC)) == MAGIC
    return _read(found[0]) if new else _read_legacy(found[0])


def _candidates(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".gguf", ".dat", ".imatrix"))


def _read(path: Path) -> ImportanceFile:
    header = read_header(path)
    parts: dict[str, dict[str, TensorInfo]] = {}
    for info in header.tensors:
        for suffix in (SUMS, COUNTS):
            if info.name.endswith(suffix):
                parts.setdefault(info.name.removesuffix(suffix), {})[suffix] = info
    if not parts or not _KINDS.keys() <= header.fields.keys():
        raise ConvertError(f"{path.name} is a GGUF file, but no importance matrix: it lacks its sums or its keys.")
    _check_kinds(path.name, header.fields)
    end = max(info.offset + info.size for info in header.tensors)
    # llama.cpp reads an importance matrix in one piece, with the padding behind its last tensor.
    if path.stat().st_size < -(-end // header.alignment) * header.alignment:
        raise ConvertError(f"{path.name} ends too early: the padding behind its last tensor is not whole.")
    entries = {}
    for name, both in sorted(parts.items()):
        if len(both) != _PARTS or any(info.kind != "F32" for info in both.values()):
            raise ConvertError(f"{path.name} has sums without counts, or not in F32, for the tensor {name!r}.")
        sums, counts = both[SUMS], both[COUNTS]
        if not counts.size or sums.size % counts.size:
            raise ConvertError(f"{path.name} has sums and counts for {name!r} that do not divide.")
        entries[name] = Entry(offset=sums.offset, values=sums.size // 4, counts=(counts.offset, counts.size // 4))
    return ImportanceFile(
        path=path,
        entries=entries,
        datasets=tuple(_readable(name) for name in value(header.fields[DATASETS])),
        chunks=value(header.fields[CHUNK_COUNT]),
    )


def _check_kinds(name: str, fields: Mapping[str, Field]) -> None:
    for key, kinds in _KINDS.items():
        if (fields[key].kind, fields[key].element) != kinds:
            raise ConvertError(f"{name}: {key} is not {'a whole number' if kinds[1] is None else 'a list of texts'}.")


def _readable(text: str) -> str:
    """A text that was no UTF-8 with a mark in the place of its odd bytes, as in the legacy format."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _read_legacy(path: Path) -> ImportanceFile:
    data = path.read_bytes()
    position = 0

    def take(count: int) -> bytes:
        nonlocal position
        if count < 0 or position + count > len(data):
            raise ConvertError(f"{path.name} is no importance matrix, or ends too early.")
        position += count
        return data[position - count : position]

    def number() -> int:
        found: int = struct.unpack("<i", take(4))[0]
        return found

    entries = {}
    for _ in range(number()):
        length = number()
        if not 0 < length <= _LONGEST_NAME:
            raise ConvertError(f"{path.name} is no importance matrix: a name in it would be {length} bytes long.")
        name = take(length).decode(errors="replace")
        calls, values = number(), number()
        entries[name] = Entry(offset=position, values=values, calls=calls)
        take(4 * values)
    if not entries:
        raise ConvertError(f"{path.name} is an importance matrix without entries.")
    chunks = number() if position < len(data) else 0
    dataset = take(number()).decode(errors="replace") if position < len(data) else ""
    return ImportanceFile(path=path, entries=entries, datasets=(dataset,) if dataset else (), chunks=chunks)


def facts(folder: Path) -> Facts:
    """What an importance matrix covers, and what text it was made from."""
    found = open_imatrix(folder)
    return Facts(
        format="imatrix",
        scheme="dat" if all(entry.counts is None for entry in found.entries.values()) else "gguf",
        tensors=tuple(
            Tensor(name=name, dtype="F32", shape=(entry.values,)) for name, entry in sorted(found.entries.items())
        ),
        files={found.path.name: found.path.stat().st_size},
        details={"datasets": list(found.datasets), "chunks": found.chunks},
    )


def detect(folder: Path) -> bool:
    """Whether the folder holds one importance matrix."""
    try:
        open_imatrix(folder)
    except (ConvertError, OSError):
        return False
    return True


def _validate(folder: Path) -> None:
    open_imatrix(folder)


FORMAT = Format(name="imatrix", schemes=("gguf", "dat"), detect=detect, facts=facts, validate=_validate)
