"""Quantizing a GGUF model, and going to it from a checkpoint in one step, side by side with llama.cpp.

    python tests/benchmarks/gguf_quantize.py FOLDER [--schemes Q4_K_M …] [--threads 2] [--all [--imatrix FOLDER]]

FOLDER is a Hugging Face checkpoint. Each measurement is a process of its own, after one that warms the file cache;
wall seconds and peak resident memory are the process's, imports included. Files are compared byte for byte. With
--all, files of every scheme (or of --schemes) are compared and nothing is measured, without an importance matrix and
with one: the file in --imatrix, else one that is made from examples/calibration with llama.cpp.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

PARTS = Path(__file__).resolve().parent.parent / "parts"
CALIBRATION = PARTS.parent.parent / "examples" / "calibration"
EQUAL, REFUSED, DIFFERENT = "equal", "refused by both", "DIFFERENT"
MEASURED = ("Q8_0", "Q4_0", "Q4_K_M", "Q6_K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process took."""

    seconds: float
    megabytes: float


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--schemes", nargs="+")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="compare every scheme, without measuring")
    parser.add_argument("--imatrix", type=Path, help="a folder with an importance matrix of the model, for --all")
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        if given.all:
            compare_all(given.checkpoint, Path(scratch), given.schemes, given.threads, given.imatrix)
        else:
            measure(given.checkpoint, Path(scratch), given.schemes or list(MEASURED), given.threads, given.repeat)


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


def compare_all(checkpoint: Path, scratch: Path, schemes: list[str] | None, threads: int, imatrix: Path | None) -> None:
    """Compare schemes' files with llama.cpp's; exit with 1 where one differs."""
    from modelmill_gguf.quantize_policy import SCHEMES

    source = convert(checkpoint, scratch / "converted", threads)
    if imatrix is None:
        imatrix = scratch / "imatrix"
        run("imatrix", str(source.parent), str(imatrix), "gguf", str(threads))
    ways: dict[str, list[str]] = {"without": [], "with": [str(imatrix)]}
    counts: Counter[tuple[str, str]] = Counter()
    for scheme in schemes or SCHEMES:
        for way, given in ways.items():
            verdict = compare(source, scratch / f"{scheme}-{way}", scheme, str(threads), *given)
            counts[way, verdict] += 1
            print(f"{scheme:10} {way:7} imatrix: {verdict}", flush=True)
    for way in ways:
        found = ", ".join(f"{counts[way, verdict]} {verdict}" for verdict in (EQUAL, REFUSED, DIFFERENT))
        print(f"{way} an importance matrix, of {len(schemes or SCHEMES)} schemes: {found}")
    sys.exit(any(counts[way, DIFFERENT] for way in ways))


def compare(source: Path, scratch: Path, scheme: str, threads: str, *imatrix: str) -> str:
    """Whether both write the same file, or both refuse."""
    scratch.mkdir()
    done = [
        attempt("quantize", str(source.parent), str(scratch / "ours"), scheme, threads, *imatrix),
        attempt("peer", str(source), str(scratch / "theirs"), scheme, threads, *imatrix),
    ]
    files = (scratch / "ours" / "model.gguf", scratch / "theirs" / "model.gguf")
    same = all(done) and filecmp.cmp(*files, shallow=False)
    shutil.rmtree(scratch)
    if not any(done):
        return REFUSED
    return EQUAL if same else DIFFERENT


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
    """This file's child with these arguments, and what it took; ends this program where that fails."""
    cost = attempt(*arguments)
    if cost is None:
        sys.exit(f"{' '.join(arguments)} failed")
    return cost


def attempt(*arguments: str) -> Cost | None:
    """The same; None where the child fails."""
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
        return None
    return Cost(seconds=seconds, megabytes=usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2))


def child(kind: str, source: str, out: str, scheme: str, threads: str, imatrix: str | None = None) -> None:
    """The work of one measurement."""
    if kind == "peer":
        child_peer(Path(source), Path(out), scheme, int(threads), imatrix)
        return
    from modelmill import Job, Limits
    from modelmill_gguf import offers
    from modelmill_gguf.fused_record import FUSED
    from modelmill_gguf.imatrix_record import MAKE_IMATRIX, ImatrixOptions
    from modelmill_gguf.quantize_record import QUANTIZER

    records = {"convert": offers.FROM_HUGGINGFACE, "quantize": QUANTIZER, "fused": FUSED, "imatrix": MAKE_IMATRIX}
    record: Any = records[kind]
    options, inputs = record.options(), {"imatrix": Path(imatrix)} if imatrix else {}
    if kind == "imatrix":
        options, inputs = ImatrixOptions(chunks=8), {"calibration": CALIBRATION}
    Path(out).mkdir()
    if kind == "convert":
        from modelmill.checkpoint import facts
        from modelmill_gguf.layout import lossless_scheme

        scheme = lossless_scheme(facts(Path(source)))
    with tempfile.TemporaryDirectory() as scratch:
        limits = Limits(threads=int(threads), scratch=Path(scratch))
        record.run(
            Job(
                source=Path(source),
                inputs=inputs,
                out=Path(out),
                scheme=scheme,
                options=options,
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
