"""The tensors of a checkpoint folder, memory-mapped, whether they lie in one file or in shards."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from modelmill.checkpoint.jsonfile import CONFIG_LIMIT, read_object
from modelmill.checkpoint.pickles import is_pickle
from modelmill.checkpoint.safetensors import Entry, read_header
from modelmill.errors import ConvertError
from modelmill.types import Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DERIVED_BUFFERS = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
"""How names of buffers end that old versions of transformers saved beside the weights; they follow from config.json."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A tensor, the file that holds it, and where in it."""

    file: str
    entry: Entry


def find_tensors(folder: Path) -> dict[str, Placed]:
    """Every tensor of a checkpoint by name, from headers alone.

    `model.safetensors` goes before the index, as in transformers. ConvertError where the files disagree,
    and where the only weights are pickles.
    """
    if (folder / SINGLE).is_file():
        return _merge(folder, [SINGLE])
    if (folder / INDEX).is_file():
        return _indexed(folder)
    shards = sorted(path.name for path in folder.glob("model*.safetensors"))
    if shards:
        return _merge(folder, shards)
    raise ConvertError(_no_weights(folder))


def _merge(folder: Path, shards: list[str]) -> dict[str, Placed]:
    found: dict[str, Placed] = {}
    for shard in shards:
        for name, entry in read_header(folder / shard).items():
            if name in found:
                raise ConvertError(f"{shard}: tensor {name!r} is in {found[name].file} too")
            found[name] = Placed(file=shard, entry=entry)
    return found


def _indexed(folder: Path) -> dict[str, Placed]:
    weight_map = read_object(folder / INDEX, CONFIG_LIMIT).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ConvertError(f"{INDEX}: has no weight_map")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard or shard in ("", ".", ".."):
            raise ConvertError(f"{INDEX}: tensor {name!r} is not in a file of this folder: {shard!r}")
    found = _merge(folder, sorted(set(weight_map.values())))
    for name, shard in weight_map.items():
        if name not in found:
            raise ConvertError(f"{INDEX}: tensor {name!r} is listed, but {shard} does not hold it")
        if found[name].file != shard:
            raise ConvertError(f"{INDEX}: tensor {name!r} is listed in {shard}, but is in {found[name].file}")
    return found


def _no_weights(folder: Path) -> str:
    for pattern in _PICKLES:
        for path in sorted(folder.glob(pattern)):
            if is_pickle(path):
                return (
                    f"{path.name}: is a Python pickle, which can run any code when it is loaded, and the only "
                    'weights here; use the checkpoint\'s safetensors files, or say `pickle = "weights-only"` in the '
                    "source"
                )
    return f"there is no {SINGLE} and no {INDEX} in the checkpoint"


class Checkpoint:
    """An open checkpoint: its tensors, and the bytes of each without a copy."""

    def __init__(self, folder: Path) -> None:
        self._placed = find_tensors(folder)
        self._maps: dict[str, mmap.mmap] = {}
        self.tensors: tuple[Tensor, ...] = tuple(placed.entry.tensor for placed in self._placed.values())
        for shard in sorted({placed.file for placed in self._placed.values()}):
            with (folder / shard).open("rb") as file:
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def raw(self, name: str) -> memoryview:
        """A tensor's bytes as the file has them, read-only, valid until `close`. ConvertError if it is missing."""
        placed = self._find(name)
        return memoryview(self._maps[placed.file])[placed.entry.start : placed.entry.end]

    def release(self, name: str) -> None:
        """Let go of the memory that holds a tensor's bytes; reading them again reads the file again."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        placed = self._find(name)
        start = placed.entry.start // mmap.PAGESIZE * mmap.PAGESIZE
        self._maps[placed.file].madvise(mmap.MADV_DONTNEED, start, placed.entry.end - start)

    def close(self) -> None:
        """Unmap the files. A view that somebody still holds keeps its file mapped until it goes."""
        for mapped in self._maps.values():
            with suppress(BufferError):
                mapped.close()

    def _find(self, name: str) -> Placed:
        try:
            return self._placed[name]
        except KeyError:
            raise ConvertError(f"the checkpoint has no tensor {name!r}") from None


@contextmanager
def open_checkpoint(folder: Path) -> Iterator[Checkpoint]:
    """Open a checkpoint folder for reading; the errors of `find_tensors`."""
    checkpoint = Checkpoint(folder)
    try:
        yield checkpoint
    finally:
        checkpoint.close()
