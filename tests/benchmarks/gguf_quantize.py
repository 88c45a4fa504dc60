"""Quantizing a GGUF model, and going to it from a checkpoint in one step, side by side with llama.cpp.

    python tests/benchmarks/gguf_quantize.py FOLDER [--schemes Q4_K_M …] [--threads 2] [--all]

FOLDER is a Hugging Face checkpoint. Each measurement is a process of its own, after one that warms the file cache;
wall seconds and peak resident memory are the process's, imports included. Files are compared byte for byte. With
--all every scheme is compared, those that need an importance matrix with one of ones.
"""

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

PARTS = Path(__file__).resolve().parent.parent / "parts"
NEED_IMATRIX = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process took."""

    seconds: float
    megabytes: float


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--schemes", nargs="+", default=["Q8_0", "Q4_0", "Q4_K_M", "Q6_K"])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="compare every scheme, without measuring")
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        if given.all:
            compare_all(given.checkpoint, Path(scratch), given.threads)
        else:
            measure(given.checkpoint, Path(scratch), given.schemes, given.threads, given.repeat)


def measure(checkpoint: Path, scratch: Path, schemes: list[str], threads: int, repeat: int) -> None:
    """Print a table: ours, llama.cpp's, and the way from the checkpoint."""
    source = convert(checkpoint, scratch / "converted", threads)
    print("| scheme | modelmill s (MB) | llama.cpp s (MB) | ratio | fused s (MB) | equal bytes |")
    print("|---|---|---|---|---|---|")
    for scheme in schemes:
        ours = best(partial(job, "quantize", source.parent, scheme, threads), scratch, repeat)
        theirs = best(partial(peer, source, scheme, threads), scratch, repeat)
        fused = best(partial(job, "fused", checkpoint, scheme, threads), scratch, repeat)
        files = [
            job("quantize", source.parent, scheme, threads, scratch / f"{scheme}-ours")[1],
            job("fused", checkpoint, scheme, threads, scratch / f"{scheme}-fused")[1],
        ]
        reference = peer(source, scheme, threads, scratch / f"{scheme}-theirs")[1]
        equal = all(filecmp.cmp(file, reference, shallow=False) for file in files)
        print(
            f"| {scheme} | {ours.seconds:.2f} ({ours.megabytes:.0f}) | {theirs.seconds:.2f} ({theirs.megabytes:.0f}) "
            f"| {ours.seconds / theirs.seconds:.2f} | {fused.seconds:.2f} ({fused.megabytes:.0f}) | {equal} |",
            flush=True,
        )


def compare_all(checkpoint: Path, scratch: Path, threads: int) -> None:
    """Compare every scheme's file with llama.cpp's; exit with 1 where one differs."""
    from modelmill_gguf.quantize_policy import SCHEMES

    source = convert(checkpoint, scratch / "converted", threads)
    imatrix = ones(source, scratch / "imatrix")
    differing = []
    for scheme in SCHEMES:
        given = imatrix if scheme in NEED_IMATRIX else None
        ours = run(
            "quantize", str(source.parent), str(scratch / "ours"), scheme, str(threads), *([given] if given else [])
        )
        theirs = run("peer", str(source), str(scratch / "theirs"), scheme, str(threads), *([given] if given else []))
        same = filecmp.cmp(scratch / "ours" / "model.gguf", scratch / "theirs" / "model.gguf", shallow=False)
        print(
            f"{scheme:10} {'equal' if same else 'DIFFERENT'} {ours.seconds:6.1f} s {theirs.seconds:6.1f} s", flush=True
        )
        for folder in ("ours", "theirs"):
            (scratch / folder / "model.gguf").unlink()
            (scratch / folder).rmdir()
        differing += [] if same else [scheme]
    print(f"{len(SCHEMES) - len(differing)} of {len(SCHEMES)} schemes equal llama.cpp's files")
    sys.exit(bool(differing))


def best(work: Callable[[Path], tuple[Cost, Path]], scratch: Path, repeat: int) -> Cost:
    """The fastest of several runs."""
    costs = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            costs.append(work(Path(folder) / "out")[0])
    return min(costs, key=lambda cost: cost.seconds)


def job(kind: str, source: Path, scheme: str, threads: int, out: Path) -> tuple[Cost, Path]:
    """One of our steps in a process of its own."""
    return run(kind, str(source), str(out), scheme, str(threads)), out / "model.gguf"


def peer(source: Path, scheme: str, threads: int, out: Path) -> tuple[Cost, Path]:
    """llama.cpp's quantizer in a process of its own."""
    return run("peer", str(source), str(out), scheme, str(threads)), out / "model.gguf"


def convert(checkpoint: Path, out: Path, threads: int) -> Path:
    """The checkpoint as a GGUF file in its own precision."""
    run("convert", str(checkpoint), str(out), "", str(threads))
    return out / "model.gguf"


def run(*arguments: str) -> Cost:
    """This file's child with these arguments, and what it took."""
    path = os.pathsep.join([str(PARTS), os.environ.get("PYTHONPATH", "")])
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} failed")
    return Cost(seconds=seconds, megabytes=usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2))


def ones(source: Path, folder: Path) -> str:
    """An importance matrix that calls every column of every matrix equally important."""
    import numpy as np

    sys.path.insert(0, str(PARTS))
    from gguf_parts import tiny

    from modelmill_gguf.header import read_header

    folder.mkdir()
    values = {
        info.name: np.ones(info.shape[-1], np.float32)
        for info in read_header(source).tensors
        if len(info.shape) > 1 and info.name.startswith("blk.")
    }
    tiny.write_imatrix(folder / "imatrix.gguf", values, dataset="ones")
    return str(folder)


def child(kind: str, source: str, out: str, scheme: str, threads: str, imatrix: str | None = None) -> None:
    """The work of one measurement."""
    if kind == "peer":
        child_peer(Path(source), Path(out), scheme, int(threads), imatrix)
        return
    from modelmill import Job, Limits
    from modelmill_gguf import offers
    from modelmill_gguf.fused_record import FUSED
    from modelmill_gguf.quantize_record import QUANTIZER

    record: Any = {"convert": offers.FROM_HUGGINGFACE, "quantize": QUANTIZER, "fused": FUSED}[kind]
    Path(out).mkdir()
    if kind == "convert":
        from modelmill.checkpoint import facts
        from modelmill_gguf.layout import lossless_scheme

        scheme = lossless_scheme(facts(Path(source)))
    with tempfile.TemporaryDirectory() as scratch:
        limits = Limits(threads=int(threads), scratch=Path(scratch))
        inputs = {"imatrix": Path(imatrix)} if imatrix else {}
        record.run(
            Job(
                source=Path(source),
                inputs=inputs,
                out=Path(out),
                scheme=scheme,
                options=record.options(),
                hardware=None,
                limits=limits,
            )
        )


def child_peer(source: Path, out: Path, scheme: str, threads: int, imatrix: str | None) -> None:
    """llama.cpp's quantizer, told about the importance matrix what its own tool would tell it."""
    from gguf_parts import peer as llama

    out.mkdir()
    if imatrix is None:
        done = llama.quantize(source, out / "model.gguf", scheme, threads=threads)
    else:
        from modelmill_gguf.imatrix import open_imatrix
        from modelmill_gguf.imatrix_weights import weights

        file = open_imatrix(Path(imatrix))
        keys: list[tuple[str, str | int]] = [
            ("quantize.imatrix.file", "imatrix.gguf"),
            ("quantize.imatrix.dataset", file.datasets[0]),
            ("quantize.imatrix.entries_count", len(file.entries)),
            ("quantize.imatrix.chunks_count", file.chunks),
        ]
        means = dict(weights(file))
        done = llama.quantize(source, out / "model.gguf", scheme, threads=threads, imatrix=means, keys=keys)
    sys.exit(not done)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
