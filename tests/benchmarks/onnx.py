"""ONNX int4 of modelmill and of the bare model builder side by side: wall time and peak memory, a process each.

    python tests/benchmarks/onnx.py CHECKPOINT [--rounds 3] [--threads 2] [--scratch FOLDER]

The rounds alternate, and the least time of each counts. `int4-builder` is like for like: its weights are checked to
be the builder's, byte for byte. `int4` is the default recipe without a calibration text, both of its steps together.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OURS = """
import sys
from pathlib import Path
from modelmill import Job, Limits
from modelmill_onnx import modelmill_converters, modelmill_quantizers

def step(offers, source, name, scheme):
    (record,) = (found for found in offers if scheme in found.schemes)
    (folder / name).mkdir(parents=True)
    (folder / "scratch").mkdir(exist_ok=True)
    record.run(Job(source=source, inputs={}, out=folder / name, scheme=scheme, options=record.options(), hardware=None,
                   limits=Limits(threads=int(sys.argv[4]), scratch=folder / "scratch")))
    return folder / name

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
if sys.argv[3] == "int4":
    step(modelmill_quantizers(), step(modelmill_converters(), source, "fp32", "fp32"), "out", "int4")
else:
    step(modelmill_converters(), source, "out", sys.argv[3])
"""
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    source = arguments.checkpoint.resolve()
    best: dict[str, tuple[float, int]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        for number in range(arguments.rounds):
            folder = Path(scratch) / str(number)
            for name, command in commands(source, folder, arguments.threads).items():
                seconds, memory = measure(command, arguments.threads)
                best[name] = min(best.get(name, (seconds, memory)), (seconds, memory))
            data = "model.onnx.data"
            ours = (folder / "int4-builder/out" / data).read_bytes()
            if ours != (folder / "builder" / data).read_bytes():
                sys.exit("int4-builder is not what the model builder writes")
    reference = best["model builder"][0]
    print(f"{'':>20} {'seconds':>8} {'ratio':>6} {'peak MB':>8}")
    for name, (seconds, memory) in best.items():
        print(f"{name:>20} {seconds:8.1f} {seconds / reference:6.2f} {memory // 1024:8}")


def commands(source: Path, folder: Path, threads: int) -> dict[str, list[str]]:
    """What is measured, by name."""
    builder = ["-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder / "builder")]
    builder += ["-p", "int4", "-e", "cpu", "-c", str(folder / "cache")]
    ours = {
        scheme: [sys.executable, "-c", OURS, str(source), str(folder / scheme), scheme, str(threads)]
        for scheme in ("int4-builder", "int4")
    }
    return {"model builder": [sys.executable, *builder], **ours}


def measure(command: list[str], threads: int) -> tuple[float, int]:
    """Seconds of wall time and KiB of memory at the peak."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], check=True, capture_output=True, text=True, env=environment
    )
    return time.perf_counter() - start, int(told.stdout)


if __name__ == "__main__":
    main()
