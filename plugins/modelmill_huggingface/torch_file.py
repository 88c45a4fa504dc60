"""A torch file as data: which tensors its pickle would make, found by reading its opcodes and never by running them.

Format: a zip whose member `NAME/data.pkl` builds an ordered mapping of tensors, with the bytes of each storage in
`NAME/data/KEY` (torch/serialization.py, `_save`). Only what such a mapping needs is known here (`_GLOBALS`, and the
opcodes of `_Machine`): whatever else a pickle asks for is refused by its name, so there is no list of bad things that
could lack one.
"""

import math
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Tensor
from modelmill.checkpoint import DTYPE_BITS

_PICKLE_LIMIT = 32 * 1024**2
"""Bytes of data.pkl; some 200 for each tensor."""
_MEMBERS = 200_000
_MAX_DIMENSIONS = 8
_STORAGES = {
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "DoubleStorage": "F64",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}" for name in _STORAGES),
}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINFLOAT",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A tensor to be: what it is, and the storage that holds its values, from where on and in which steps."""

    dtype: str
    shape: tuple[int, ...]
    storage: str
    offset: int
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    count: int


def read_torch_file(path: Path) -> dict[str, View]:
    """The tensors of a torch file by name. ConvertError for one that holds, or asks for, anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            _check_members(path.name, members)
            pickles = [name for name in members if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ConvertError(f"{path.name}: holds {len(pickles)} pickles data.pkl, not one as torch writes")
            data = archive.read(pickles[0])
    except FileNotFoundError:
        raise ConvertError(f"{path.name}: there is no such file in the checkpoint") from None
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError):
        raise ConvertError(
            f"{path.name}: is not the zip file that torch writes since version 1.6; load it there and save it again"
        ) from None
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in members and _byte_order(path, f"{folder}byteorder") != b"little":
        raise ConvertError(f"{path.name}: was written on a big-endian machine; load it there and save safetensors")
    found = _Machine(path.name).run(data)
    sizes = {name.removeprefix(f"{folder}data/"): member.file_size for name, member in members.items()}
    return _tensors(path.name, found, sizes)


def _check_members(file: str, members: Mapping[str, zipfile.ZipInfo]) -> None:
    if len(members) > _MEMBERS:
        raise ConvertError(f"{file}: {len(members):,} members are more than the {_MEMBERS:,} allowed")
    for name, member in members.items():
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise ConvertError(f"{file}: its member {name!r:.80} leaves the archive's folder")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ConvertError(f"{file}: its member {name!r:.80} is compressed, as torch's are not")
        if name.endswith(".pkl") and member.file_size > _PICKLE_LIMIT:
            raise ConvertError(f"{file}: its pickle has {member.file_size:,} bytes, more than {_PICKLE_LIMIT:,}")


def _byte_order(path: Path, member: str) -> bytes:
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        return file.read(8)


def _tensors(file: str, found: Any, sizes: Mapping[str, int]) -> dict[str, View]:
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConvertError(f"{file}: is not a mapping of names to tensors")
    views: dict[str, View] = {}
    for name, item in found.items():
        if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[1], View):  # noqa: PLR2004
            raise ConvertError(f"{file}: {name!r:.80} is no tensor; save the model's state_dict alone")
        storage, view = item
        if sizes.get(storage.key) != storage.count * DTYPE_BITS[storage.dtype] // 8:
            raise ConvertError(f"{file}: the values of {name!r:.80} are not there, or not whole; fetch it again")
        last = view.offset + sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True))
        if math.prod(view.shape) and last >= storage.count:
            raise ConvertError(f"{file}: {name!r:.80} would read beyond its values")
        views[name] = view
    return views


def tensor(name: str, view: View) -> Tensor:
    """A view as the tensor that it makes."""
    return Tensor(name=name, dtype=view.dtype, shape=view.shape)


class _Machine:
    """Follows a pickle's opcodes with values that stand for what they would make."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """What the pickle would make. ConvertError for one that asks for more than tensors, or is damaged."""
        try:
            for opcode, argument, _ in pickletools.genops(data):
                if opcode.name == "STOP":
                    (found,) = self._stack
                    return found
                self._step(opcode.name, argument)
        except ConvertError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise ConvertError(f"{self._file}: its pickle is damaged") from None
        raise ConvertError(f"{self._file}: its pickle does not end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif not self._collect(name):
            self._make(name, argument)

    def _collect(self, name: str) -> bool:
        """Follow an opcode that makes or fills a container; False for another one."""
        stack = self._stack
        if name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "TUPLE":
            stack.append(tuple(self._to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "SETITEM":
            self._fill([stack.pop(-2), stack.pop()])
        elif name == "SETITEMS":
            self._fill(self._to_mark())
        else:
            return False
        return True

    def _fill(self, items: list[Any]) -> None:
        """Keys are names alone: the digest of tuples within tuples may take for ever."""
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise TypeError
            self._stack[-1][key] = value

    def _make(self, name: str, argument: Any) -> None:
        """Follow an opcode that imports, calls, or sets attributes."""
        stack = self._stack
        if name == "GLOBAL":
            stack.append(self._global(argument))
        elif name == "STACK_GLOBAL":
            word, module = stack.pop(), stack.pop()
            stack.append(self._global(f"{module:s} {word:s}"))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._call(function, arguments))
        elif name == "BUILD":  # the `_metadata` of a state_dict, which says nothing of its tensors
            stack.pop()
            if not isinstance(stack[-1], dict):
                raise ConvertError(f"{self._file}: its pickle sets attributes of what is no mapping")
        else:
            raise ConvertError(f"{self._file}: its pickle has the opcode {name}, which a file of tensors does not need")

    def _to_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError
        found = self._stack[place + 1 :]
        del self._stack[place:]
        return found

    def _global(self, name: str) -> _Global:
        if name not in _GLOBALS:
            raise ConvertError(
                f"{self._file}: its pickle asks for {name.replace(' ', '.')!r:.80}, which a file of tensors does not "
                "need and which could run anything"
            )
        return _Global(name)

    def _storage(self, found: Any) -> _Storage:
        kind, of, key, _, count = found
        if kind != "storage" or not isinstance(key, str) or type(count) is not int or count < 0:
            raise ValueError
        return _Storage(key, _STORAGES[of.name.removeprefix("torch ")], count)

    def _call(self, function: Any, arguments: Any) -> Any:
        name = function.name if isinstance(function, _Global) else ""
        if name == "collections OrderedDict" and arguments == ():
            return {}
        if name == "torch._utils _rebuild_parameter":
            return arguments[0]
        if name == "torch._utils _rebuild_tensor_v2":
            storage, offset, shape, stride = arguments[:4]
            if not _sizes(shape) or not _sizes(stride) or len(shape) != len(stride) or not _sizes((offset,)):
                raise ValueError
            return storage, View(dtype=storage.dtype, shape=shape, storage=storage.key, offset=offset, stride=stride)
        raise ConvertError(f"{self._file}: its pickle calls what a file of tensors does not call")


def _sizes(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= _MAX_DIMENSIONS
        and all(type(value) is int and 0 <= value < 2**48 for value in values)
    )
