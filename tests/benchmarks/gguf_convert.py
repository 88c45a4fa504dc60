"""Conversion into GGUF beside llama.cpp's own script: wall time, processor time and peak memory in one run.

    python tests/benchmarks/gguf_convert.py --llama-cpp SOURCES [--source CHECKPOINT] [--gigabytes 1 2 4 8]
        [--schemes F16 BF16] [--threads 2] [--repeat 3] [--scratch FOLDER]

SOURCES is llama.cpp's source tree (vendor/llama.cpp in llama-cpp-python's sdist), run with this interpreter. With
--source, both convert the checkpoint in turn, and their tensors are compared. With --gigabytes, synthetic sharded
checkpoints are converted and compared with `cp` of the same bytes, both brought to disk. Best of the repeats.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelmill.testing import make_checkpoint
from modelmill_gguf.header import read_header

WIDTH, INNER, ROWS = 2048, 8192, 49_152
OURS = """
import os, sys
from pathlib import Path
from modelmill import Job, Limits
from modelmill_gguf.convert import run
from modelmill_gguf.options import ConvertOptions
source, out, scheme, threads = sys.argv[1:]
Path(out).mkdir()
run(Job(source=Path(source), inputs={}, out=Path(out), scheme=scheme, options=ConvertOptions(), hardware=None,
        limits=Limits(threads=int(threads), scratch=Path(out + "-scratch"))))
"""
SYNC = """
import os, sys
for folder in sys.argv[1:]:
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            os.fsync(file.fileno())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run: seconds by the clock and on processors, and the largest resident set in MB."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    """Print the table."""
    arguments = _arguments()
    print(f"{'checkpoint':>14} {'scheme':>6} {'tool':>10} {'wall s':>8} {'cpu s':>8} {'peak MB':>8}")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        if arguments.source is not None:
            for scheme in arguments.schemes:
                _beside_llama_cpp(arguments, arguments.source, scheme, Path(scratch))
            shutil.rmtree(Path(scratch) / "ours")
        for gigabytes in arguments.gigabytes:
            source = synthetic(Path(scratch) / "synthetic", gigabytes)
            _beside_cp(arguments, source, f"{gigabytes:g} GB", Path(scratch))
            shutil.rmtree(source)


def _beside_llama_cpp(arguments: argparse.Namespace, source: Path, scheme: str, scratch: Path) -> None:
    ours, theirs = scratch / "ours", scratch / "theirs.gguf"
    script = ["convert_hf_to_gguf.py", "--outtype", scheme.lower(), "--outfile", str(theirs), str(source.resolve())]
    commands = {
        "modelmill": [sys.executable, "-c", OURS, str(source), str(ours), scheme, str(arguments.threads)],
        "llama.cpp": [sys.executable, *script],
    }
    runs: dict[str, list[Figures]] = {name: [] for name in commands}
    for _ in range(arguments.repeat):
        shutil.rmtree(ours, ignore_errors=True)
        theirs.unlink(missing_ok=True)
        for name, command in commands.items():
            folder = arguments.llama_cpp if name == "llama.cpp" else None
            runs[name].append(measure(command, arguments.threads, folder))
    _compare(ours / "model.gguf", theirs)
    _print(source.name, scheme, runs)


def _beside_cp(arguments: argparse.Namespace, source: Path, label: str, scratch: Path) -> None:
    ours, copy = scratch / "ours", scratch / "copy"
    convert = [sys.executable, "-c", OURS, str(source), str(ours), "BF16", str(arguments.threads)]
    runs: dict[str, list[Figures]] = {"modelmill": [], "cp": []}
    for _ in range(arguments.repeat):
        for name, command, folder in (
            ("cp", ["cp", "-r", str(source), str(copy)], copy),
            ("modelmill", convert, ours),
        ):
            first = measure(command, arguments.threads)
            sync = measure([sys.executable, "-S", "-c", SYNC, str(folder)], 1)
            runs[name].append(Figures(wall=first.wall + sync.wall, cpu=first.cpu + sync.cpu, memory=first.memory))
            shutil.rmtree(folder)
    _print(label, "BF16", runs)


def measure(command: Sequence[str], threads: int, folder: Path | None = None) -> Figures:
    """Run a program; its figures come from the kernel's account of that one child."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"{command[:2]} failed:\n{log.read().decode()[-2000:]}")
    return Figures(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory=usage.ru_maxrss / 1024)


def _compare(ours: Path, theirs: Path) -> None:
    for mine, other in zip(read_header(ours).tensors, read_header(theirs).tensors, strict=True):
        with ours.open("rb") as left, theirs.open("rb") as right:
            left.seek(mine.offset)
            right.seek(other.offset)
            if mine.name != other.name or left.read(mine.size) != right.read(other.size):
                raise SystemExit(f"{mine.name} differs")


def _print(label: str, scheme: str, runs: dict[str, list[Figures]]) -> None:
    for name, figures in runs.items():
        wall, cpu = min(each.wall for each in figures), min(each.cpu for each in figures)
        memory = max(each.memory for each in figures)
        print(f"{label:>14} {scheme:>6} {name:>10} {wall:8.2f} {cpu:8.2f} {memory:8.0f}", flush=True)


def synthetic(folder: Path, gigabytes: float) -> Path:
    """A llama checkpoint of about this size in BF16, one shard a layer, every shard the same random values."""
    make_checkpoint(folder, "llama")
    layer = _layer_tensors()
    per_layer = 2 * sum(rows * columns for rows, columns in layer.values())
    layers = max(1, round((gigabytes * 1e9 - 2 * ROWS * WIDTH) / per_layer))
    _set_sizes(folder, layers)
    (folder / "model.safetensors").unlink()
    weights: dict[str, str] = {}
    shards = [{f"model.layers.{at}.{name}.weight": shape for name, shape in layer.items()} for at in range(layers)]
    shards[0] |= {"model.embed_tokens.weight": (ROWS, WIDTH), "model.norm.weight": (1, WIDTH)}
    for at, tensors in enumerate(shards):
        name = f"model-{at + 1:05d}-of-{layers:05d}.safetensors"
        _write_shard(folder / name, tensors)
        weights |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    return folder


def _layer_tensors() -> dict[str, tuple[int, int]]:
    square = (WIDTH, WIDTH)
    return {
        **{f"self_attn.{name}_proj": square for name in "qkvo"},
        "mlp.gate_proj": (INNER, WIDTH),
        "mlp.up_proj": (INNER, WIDTH),
        "mlp.down_proj": (WIDTH, INNER),
        "input_layernorm": (1, WIDTH),
        "post_attention_layernorm": (1, WIDTH),
    }


def _set_sizes(folder: Path, layers: int) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": layers, "vocab_size": ROWS}
    config |= {"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))


def _write_shard(path: Path, tensors: dict[str, tuple[int, int]]) -> None:
    header, offset = {}, 0
    for name, (rows, columns) in tensors.items():
        size = 2 * rows * columns
        shape = [columns] if rows == 1 else [rows, columns]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    # Random bits below the exponents of infinities and NaN.
    noise = int.from_bytes(os.urandom(1 << 20), "little") & int.from_bytes(b"\xff\xbf" * (1 << 19), "little")
    block = noise.to_bytes(1 << 20, "little")
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for at in range(0, offset, len(block)):
            file.write(block[: offset - at])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Conversion into GGUF beside llama.cpp's script and beside cp.")
    parser.add_argument("--llama-cpp", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[])
    parser.add_argument("--schemes", nargs="+", default=["F16", "BF16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    if arguments.source is not None and arguments.llama_cpp is None:
        parser.error("--source needs --llama-cpp")
    return arguments


if __name__ == "__main__":
    main()
