"""A step of the gguf plugin and the tool that it replaces, measured in turn, their results compared."""

import filecmp
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gguf_parts.measured import Cost, best, run, step
from modelmill_gguf.header import read_header

_SYNC = """
import os, sys
for name in os.listdir(sys.argv[1]):
    with open(os.path.join(sys.argv[1], name), "rb") as file:
        os.fsync(file.fileno())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What both took."""

    ours: Cost
    theirs: Cost

    @property
    def ratio(self) -> float:
        """Our time as a share of theirs."""
        return self.ours.seconds / self.theirs.seconds


def in_turn(repeat: int, work: Mapping[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """Measure several things, one after another in every round, so that a busy moment meets them all."""
    runs: dict[str, list[Cost]] = {name: [] for name in work}
    for _ in range(repeat):
        for name, measured in work.items():
            runs[name].append(measured())
    return {name: best(costs) for name, costs in runs.items()}


def beside_script(llama_cpp: Path, source: Path, scheme: str, scratch: Path, threads: int, repeat: int) -> Pair:
    """Converting a checkpoint, beside llama.cpp's script; SystemExit where a tensor differs."""
    ours, theirs = scratch / "ours", scratch / "theirs.gguf"

    def convert() -> Cost:
        shutil.rmtree(ours, ignore_errors=True)
        return step("convert", source, ours, scheme, threads)

    found = in_turn(repeat, {"ours": convert, "theirs": lambda: script(llama_cpp, source, scheme, theirs, threads)})
    _compare(ours / "model.gguf", theirs)
    shutil.rmtree(ours)
    theirs.unlink()
    return Pair(ours=found["ours"], theirs=found["theirs"])


def script(llama_cpp: Path, source: Path, scheme: str, out: Path, threads: int) -> Cost:
    """llama.cpp's script on a checkpoint."""
    words = ["convert_hf_to_gguf.py", "--outtype", scheme.lower(), "--outfile", str(out), str(source.resolve())]
    return run([sys.executable, *words], threads=threads, folder=llama_cpp)


def _compare(ours: Path, theirs: Path) -> None:
    for mine, other in zip(read_header(ours).tensors, read_header(theirs).tensors, strict=True):
        with ours.open("rb") as left, theirs.open("rb") as right:
            left.seek(mine.offset)
            right.seek(other.offset)
            if mine.name != other.name or left.read(mine.size) != right.read(other.size):
                raise SystemExit(f"{mine.name} differs")


def beside_cp(source: Path, scratch: Path, threads: int, repeat: int) -> Pair:
    """Converting a checkpoint to the type that it has, beside copying it, both brought to disk."""
    ours, copy = scratch / "ours", scratch / "copy"

    found = in_turn(
        repeat,
        {
            "theirs": lambda: synced(copy, run(["cp", "-r", str(source), str(copy)])),
            "ours": lambda: synced(ours, step("convert", source, ours, "", threads)),
        },
    )
    return Pair(ours=found["ours"], theirs=found["theirs"])


def synced(folder: Path, cost: Cost) -> Cost:
    """The cost of a folder that was written, with the time to bring it to disk; the folder is gone then."""
    sync = run([sys.executable, "-S", "-c", _SYNC, str(folder)])
    shutil.rmtree(folder)
    return Cost(seconds=cost.seconds + sync.seconds, cpu=cost.cpu + sync.cpu, megabytes=cost.megabytes)


def quantizing(source: Path, scheme: str, scratch: Path, threads: int, repeat: int) -> Pair:
    """Quantizing a GGUF file, beside llama.cpp; SystemExit where the files differ."""
    ours, theirs = scratch / "quantized-ours", scratch / "quantized-theirs"

    def fresh(kind: str, given: Path, out: Path) -> Cost:
        shutil.rmtree(out, ignore_errors=True)
        return step(kind, given, out, scheme, threads)

    found = in_turn(
        repeat,
        {
            "ours": lambda: fresh("quantize", source.parent, ours),
            "theirs": lambda: fresh("peer", source, theirs),
        },
    )
    if not filecmp.cmp(ours / "model.gguf", theirs / "model.gguf", shallow=False):
        raise SystemExit(f"{scheme} differs")
    shutil.rmtree(ours)
    shutil.rmtree(theirs)
    return Pair(ours=found["ours"], theirs=found["theirs"])


def fused(llama_cpp: Path, checkpoint: Path, scheme: str, scratch: Path, threads: int, repeat: int) -> Pair:
    """From a checkpoint to a scheme in one step, beside llama.cpp's script and quantizer after each other."""
    ours, between, theirs = scratch / "fused", scratch / "between.gguf", scratch / "fused-theirs"

    def one() -> Cost:
        shutil.rmtree(ours, ignore_errors=True)
        return step("fused", checkpoint, ours, scheme, threads)

    def two() -> Cost:
        shutil.rmtree(theirs, ignore_errors=True)
        first = script(llama_cpp, checkpoint, "BF16", between, threads)
        return first + step("peer", between, theirs, scheme, threads)

    found = in_turn(repeat, {"ours": one, "theirs": two})
    _compare(ours / "model.gguf", theirs / "model.gguf")
    shutil.rmtree(ours)
    shutil.rmtree(theirs)
    between.unlink()
    return Pair(ours=found["ours"], theirs=found["theirs"])


def whole_set(llama_cpp: Path, checkpoint: Path, scratch: Path, threads: int, repeat: int) -> Pair:
    """The files of the default build from one checkpoint: a `modelmill build` of everything (lock, descriptions and
    signatures with it), beside llama.cpp's script and its quantizer for each scheme.
    """
    targets = "".join(f'[target.{name.lower()}]\nscheme = "{name}"\n' for name in ("F16", *_QUANTIZED))
    theirs = scratch / "set-theirs"

    def build() -> Cost:
        folder = scratch / "set"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "build.toml").write_text(_BUILD.format(checkpoint=checkpoint.resolve()) + targets)
        words = [sys.executable, "-m", "modelmill", "build", "--store", str(folder / "store")]
        return run(["env", f"XDG_DATA_HOME={scratch}", *words], threads=threads, folder=folder)

    def tools() -> Cost:
        shutil.rmtree(theirs, ignore_errors=True)
        theirs.mkdir()
        total = script(llama_cpp, checkpoint, "F16", theirs / "F16.gguf", threads)
        for scheme in _QUANTIZED:
            total += step("peer", theirs / "F16.gguf", theirs / scheme, scheme, threads)
        return total

    found = in_turn(repeat, {"ours": build, "theirs": tools})
    return Pair(ours=found["ours"], theirs=found["theirs"])


_QUANTIZED = ("Q8_0", "Q4_K_M", "Q4_0")
_BUILD = """
[project]
name = "set"
version = "1"
license = "Apache-2.0"
[source.base]
uri = "{checkpoint}"
requantize = true
[defaults]
source = "base"
hardware = "x86-64-v3"
format = "gguf"
[sign]
key = "development:"
"""
