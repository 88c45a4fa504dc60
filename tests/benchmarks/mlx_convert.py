"""MLX conversions of modelmill and of mlx-lm side by side: wall time, CPU time and peak memory of a process each.

    python tests/benchmarks/mlx_convert.py [--source FOLDER] [--gigabytes 1 2 4] [--scheme 4bit] [--repeat 3]

Without a source, the checkpoints are synthetic llama models in bfloat16, made in the scratch folder. Every pair is
checked to be equal before its figures are printed. The last two columns are the shares of mlx-lm's time and memory.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint

HIDDEN, INTERMEDIATE, VOCABULARY = 2048, 5632, 32000
OURS = """
import sys
from pathlib import Path
from modelmill import Job, Limits
from modelmill_mlx import modelmill_converters
(record,) = modelmill_converters()
source, folder, scheme, threads = sys.argv[1:]
(Path(folder) / "out").mkdir(parents=True)
(Path(folder) / "scratch").mkdir()
record.run(Job(source=Path(source), inputs={}, out=Path(folder) / "out", scheme=scheme, options=record.options(),
               hardware=None, limits=Limits(threads=int(threads), scratch=Path(folder) / "scratch")))
"""
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
"""
THEIRS: Mapping[str, tuple[str, ...]] = {
    "bf16": ("--dtype", "bfloat16"),
    "4bit": ("-q", "--q-bits", "4"),
    "8bit": ("-q", "--q-bits", "8"),
    "mixed_3_6": ("-q", "--q-group-size", "64", "--quant-predicate", "mixed_3_6"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process took: wall seconds, seconds of CPU, and megabytes of resident memory at its peak."""

    seconds: float
    processor: float
    megabytes: float


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        print(
            f"{'source':>12} {'scheme':>9} {'converter':>12} {'threads':>7} {'seconds':>8} {'CPU s':>7} {'peak MB':>8} "
            "  time memory"
        )
        if arguments.source is not None:
            _compare(arguments.source, Path(scratch), arguments)
            return
        for gigabytes in arguments.gigabytes:
            source = synthetic(Path(scratch) / "source", gigabytes)
            _compare(source, Path(scratch), arguments)
            shutil.rmtree(source)


def synthetic(folder: Path, gigabytes: float) -> Path:
    """A llama checkpoint of about this many bytes in one file a layer; the layers hold the same random values."""
    make_checkpoint(folder, "llama", shape=Shape(hidden=64, intermediate=128, layers=1))
    per_layer = 2 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INTERMEDIATE + 2 * HIDDEN)
    layers = max(1, round((gigabytes * 1e9 - 2 * VOCABULARY * HIDDEN) / per_layer))
    config = json.loads((folder / "config.json").read_text())
    sizes = {
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": HIDDEN // 16,
        "vocab_size": VOCABULARY,
    }
    (folder / "config.json").write_text(json.dumps({**config, **sizes}))
    (folder / "model.safetensors").unlink()
    shapes = {f"self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in "qkvo"}
    shapes |= {f"mlp.{name}_proj": (INTERMEDIATE, HIDDEN) for name in ("gate", "up")}
    shapes["mlp.down_proj"] = (HIDDEN, INTERMEDIATE)
    norms: dict[str, tuple[int, ...]] = {"input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,)}
    outer: dict[str, tuple[int, ...]] = {"model.embed_tokens": (VOCABULARY, HIDDEN), "model.norm": (HIDDEN,)}
    places = _write(folder, "model-outer.safetensors", outer)
    for layer in range(layers):
        named = {f"model.layers.{layer}.{name}": shape for name, shape in {**shapes, **norms}.items()}
        places |= _write(folder, f"model-{layer:05d}.safetensors", named)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def _write(folder: Path, file: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    import numpy as np

    values = np.random.default_rng(0)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[f"{name}.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / file).open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            floats = values.standard_normal(int(np.prod(shape)), np.float32) * np.float32(0.02)
            out.write((floats.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    return {f"{name}.weight": file for name in shapes}


def _compare(source: Path, scratch: Path, arguments: argparse.Namespace) -> None:
    """Rounds in turn, so that what slows the machine for a while slows both; printed is the best of each."""
    size = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    theirs, ours = scratch / "theirs", scratch / "ours"
    command = [sys.executable, "-m", "mlx_lm", "convert", "--hf-path", str(source), "--mlx-path", str(theirs)]
    best: dict[str, Cost] = {}
    for _ in range(arguments.repeat):
        shutil.rmtree(theirs, ignore_errors=True)
        _keep(best, "-", _measure([*command, *THEIRS[arguments.scheme]]))
        for threads in arguments.threads:
            shutil.rmtree(ours, ignore_errors=True)
            words = [sys.executable, "-c", OURS, str(source), str(ours), arguments.scheme, str(threads)]
            _keep(best, str(threads), _measure(words))
            _assert_equal(ours / "out", theirs)
    for threads, cost in best.items():
        converter = "mlx-lm" if threads == "-" else "modelmill"
        row = f"{size / 1e9:9.2f} GB {arguments.scheme:>9} {converter:>12} {threads:>7}"
        ratios = f"{cost.seconds / best['-'].seconds:6.2f} {cost.megabytes / best['-'].megabytes:6.2f}"
        print(f"{row} {cost.seconds:8.2f} {cost.processor:7.2f} {cost.megabytes:8.0f} {ratios}", flush=True)
    shutil.rmtree(ours)
    shutil.rmtree(theirs)


def _keep(best: dict[str, Cost], name: str, cost: Cost) -> None:
    if name not in best or cost.seconds < best[name].seconds:
        best[name] = cost


def _measure(command: list[str]) -> Cost:
    os.sync()
    start = time.perf_counter()
    # A process starts with its parent's peak, so a small one in between measures.
    done = subprocess.run([sys.executable, "-c", MEASURED, *command], check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    resident, processor = done.stdout.splitlines()[-1].split()
    peak = int(resident) * (1 if sys.platform == "darwin" else 1024) / 1e6
    return Cost(seconds=seconds, processor=float(processor), megabytes=peak)


def _assert_equal(ours: Path, theirs: Path) -> None:
    from modelmill.checkpoint import open_checkpoint

    for name in ("config.json", "model.safetensors.index.json"):
        if (ours / name).read_bytes() != (theirs / name).read_bytes():
            raise SystemExit(f"{name} differs")
    with open_checkpoint(ours) as ours_open, open_checkpoint(theirs) as theirs_open:
        for tensor in ours_open.tensors:
            if ours_open.raw(tensor.name) != theirs_open.raw(tensor.name):
                raise SystemExit(f"{tensor.name} differs")
            ours_open.release(tensor.name)
            theirs_open.release(tensor.name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1, 2, 4])
    parser.add_argument("--scheme", choices=sorted(THEIRS), default="4bit")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--scratch", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
