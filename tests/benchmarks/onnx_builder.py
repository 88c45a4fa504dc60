"""ONNX int4 of modelmill, the bare model builder and Olive side by side: time and memory, a process each.

    python tests/benchmarks/onnx_builder.py CHECKPOINT [--rounds 3] [--threads 2] [--olive FOLDER] [--scratch FOLDER]

The rounds alternate, and the least time of each counts. `int4-builder` is like for like: its weights are checked to
be the builder's, byte for byte. `int4` is the default recipe without a calibration text, both of its steps together.
Olive's pins clash with everybody's: with `--olive` it runs in a virtual environment in that folder, which is made where
it is missing (2 GB), and captures the graph with the model builder that it works with.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OLIVE = (
    "torch==2.13.0",
    "transformers==4.57.6",
    "onnxruntime==1.31.1",
    "onnxruntime-genai==0.14.1",
    "olive-ai==0.13.0",
    "requests",  # which Olive imports and does not require
)
OURS = """
import sys
from pathlib import Path
from modelmill import Job, Limits
from modelmill_onnx import modelmill_converters, modelmill_quantizers

def step(offers, source, name, scheme):
    record = next(found for found in offers if scheme in found.schemes)
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
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--olive", type=Path)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    if arguments.olive is not None and not (arguments.olive / "bin/olive").exists():
        subprocess.run([sys.executable, "-m", "venv", str(arguments.olive)], check=True)
        subprocess.run([str(arguments.olive / "bin/python"), "-m", "pip", "install", "-q", *OLIVE], check=True)
    source = arguments.checkpoint.resolve()
    best: dict[str, tuple[float, float, int]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        for number in range(arguments.rounds):
            folder = Path(scratch) / str(number)
            (folder / "cwd").mkdir(parents=True)
            for name, command in commands(source, folder, arguments).items():
                found = measure(command, arguments.threads, folder / "cwd")
                best[name] = min(best.get(name, found), found)
            data = "model.onnx.data"
            ours = (folder / "int4-builder/out" / data).read_bytes()
            if ours != (folder / "builder" / data).read_bytes():
                sys.exit("int4-builder is not what the model builder writes")
    reference = best["model builder"]
    print(f"{'':>20} {'seconds':>8} {'ratio':>6} {'CPU s':>7} {'ratio':>6} {'peak MB':>8}")
    for name, (seconds, processor, memory) in best.items():
        row = f"{name:>20} {seconds:8.1f} {seconds / reference[0]:6.2f}"
        print(f"{row} {processor:7.1f} {processor / reference[1]:6.2f} {memory // 1024:8}")


def commands(source: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, list[str]]:
    """What is measured, by name."""
    builder = ["-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder / "builder")]
    builder += ["-p", "int4", "-e", "cpu", "-c", str(folder / "cache")]
    ours = {
        scheme: [sys.executable, "-c", OURS, str(source), str(folder / scheme), scheme, str(arguments.threads)]
        for scheme in ("int4-builder", "int4")
    }
    found = {"model builder": [sys.executable, *builder], **ours}
    if arguments.olive is not None:
        captured = ["capture-onnx-graph", "-m", str(source), "--use_model_builder", "--precision", "int4"]
        found["Olive"] = [str(arguments.olive / "bin/olive"), *captured, "-o", str(folder / "olive")]
    return found


def measure(command: list[str], threads: int, folder: Path) -> tuple[float, float, int]:
    """Seconds of wall time and of CPU, and KiB of memory at the peak.

    The working folder is empty: Olive keeps a cache there, and takes what lies there by the name of a precision for it.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = (
        os.environ | dict.fromkeys(names, str(threads)) | {"HF_HUB_OFFLINE": "1", "OLIVE_DISABLE_TELEMETRY": "1"}
    )
    start = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    seconds = time.perf_counter() - start
    if told.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{told.stderr[-2000:]}")
    resident, processor = told.stdout.split()
    return seconds, float(processor), int(resident)


if __name__ == "__main__":
    main()
