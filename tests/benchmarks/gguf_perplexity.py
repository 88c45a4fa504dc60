"""Perplexity of a model quantized with and without an importance matrix, by llama.cpp.

    python tests/benchmarks/gguf_perplexity.py CHECKPOINT [--schemes Q2_K Q4_K_M] [--chunks 4] [--calibration 8]
        [--imatrix FOLDER] [--threads 2] [--scratch FOLDER]

CHECKPOINT is a Hugging Face checkpoint. The importance matrix is made from the first --calibration chunks of 512 tokens
of examples/calibration, unless --imatrix has one. The text that is scored is CPython's own `pydoc_data.topics`, from
where the calibration text ends, in --chunks chunks of 512 tokens, each scored on its second half.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parts"))

from gguf_parts import perplexities


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--schemes", nargs="+", default=["Q2_K", "Q4_K_M"])
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--calibration", type=int, default=8)
    parser.add_argument("--imatrix", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    print("| scheme | bytes | perplexity without | with an importance matrix |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        found = perplexities.compare(
            given.checkpoint,
            Path(scratch),
            given.schemes,
            threads=given.threads,
            chunks=given.chunks,
            calibration=given.calibration,
            imatrix=given.imatrix,
        )
        for each in found:
            figures = f"{each.without:.3f} | {each.with_imatrix:.3f}"
            print(f"| {each.scheme} | {each.bytes:,} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
