"""Quantizing a GGUF model, and going to it from a checkpoint in one step, side by side with llama.cpp.

    python tests/benchmarks/gguf_quantize.py FOLDER [--schemes Q4_K_M …] [--threads 2] [--all [--imatrix FOLDER]]

FOLDER is a Hugging Face checkpoint. Each measurement is a process of its own; wall seconds and peak resident memory
are the process's, imports included. Files are compared byte for byte. With --all, files of every scheme (or of
--schemes) are compared and nothing is measured, without an importance matrix and with one: the file in --imatrix,
else one that is made from examples/calibration with llama.cpp.
"""

import argparse
import filecmp
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parts"))

from gguf_parts.besides import quantizing
from gguf_parts.measured import attempt, lossless, step, words_of

from modelmill_gguf.quantize_policy import SCHEMES

EQUAL, REFUSED, DIFFERENT = "equal", "refused by both", "DIFFERENT"
MEASURED = ("Q8_0", "Q4_0", "Q4_K_M", "Q6_K")


def main() -> None:
    """Measure, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--schemes", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="compare every scheme, without measuring")
    parser.add_argument("--imatrix", type=Path, help="a folder with an importance matrix of the model, for --all")
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        scratch = Path(folder)
        source = lossless(given.checkpoint, scratch / "converted", given.threads)
        if given.all:
            compare_all(source, scratch, given.schemes or list(SCHEMES), given.threads, given.imatrix)
        else:
            measure(given.checkpoint, source, scratch, given.schemes or list(MEASURED), given.threads, given.repeat)


def measure(checkpoint: Path, source: Path, scratch: Path, schemes: list[str], threads: int, repeat: int) -> None:
    """Print a table: ours, llama.cpp's, and the way from the checkpoint."""
    print("| scheme | modelmill s (MB) | llama.cpp s (MB) | ratio | fused s (MB) |")
    print("|---|---|---|---|---|")
    for scheme in schemes:
        pair = quantizing(source, scheme, scratch, threads, repeat)
        out = scratch / f"{scheme}-fused"
        costs = []
        for _ in range(repeat):
            shutil.rmtree(out, ignore_errors=True)
            costs.append(step("fused", checkpoint, out, scheme, threads))
        fused = min(costs, key=lambda cost: cost.seconds)
        cells = [f"{cost.seconds:.2f} ({cost.megabytes:.0f})" for cost in (pair.ours, pair.theirs, fused)]
        print(f"| {scheme} | {cells[0]} | {cells[1]} | {pair.ratio:.2f} | {cells[2]} |", flush=True)


def compare_all(source: Path, scratch: Path, schemes: list[str], threads: int, imatrix: Path | None) -> None:
    """Compare schemes' files with llama.cpp's; exit with 1 where one differs."""
    if imatrix is None:
        imatrix = scratch / "imatrix"
        step("imatrix", source.parent, imatrix, "gguf", threads)
    ways: dict[str, list[str]] = {"without": [], "with": [str(imatrix)]}
    counts: Counter[tuple[str, str]] = Counter()
    for scheme in schemes:
        for way, given in ways.items():
            verdict = compare(source, scratch / f"{scheme}-{way}", scheme, threads, *given)
            counts[way, verdict] += 1
            print(f"{scheme:10} {way:7} imatrix: {verdict}", flush=True)
    for way in ways:
        found = ", ".join(f"{counts[way, verdict]} {verdict}" for verdict in (EQUAL, REFUSED, DIFFERENT))
        print(f"{way} an importance matrix, of {len(schemes)} schemes: {found}")
    sys.exit(any(counts[way, DIFFERENT] for way in ways))


def compare(source: Path, scratch: Path, scheme: str, threads: int, *imatrix: str) -> str:
    """Whether both write the same file, or both refuse."""
    scratch.mkdir()
    ours, theirs = scratch / "ours", scratch / "theirs"
    done = [
        attempt(words_of(kind, given, out, scheme, threads, *imatrix), threads=threads)[1] is None
        for kind, given, out in (("quantize", source.parent, ours), ("peer", source, theirs))
    ]
    same = all(done) and filecmp.cmp(ours / "model.gguf", theirs / "model.gguf", shallow=False)
    shutil.rmtree(scratch)
    if not any(done):
        return REFUSED
    return EQUAL if same else DIFFERENT


if __name__ == "__main__":
    main()
