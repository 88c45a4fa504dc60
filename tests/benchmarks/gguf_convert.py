"""Conversion into GGUF beside llama.cpp's own script: wall time, processor time and peak memory in one run.

    python tests/benchmarks/gguf_convert.py --llama-cpp SOURCES [--source CHECKPOINT] [--gigabytes 1 2 4 8]
        [--schemes F16 BF16] [--threads 2] [--repeat 3] [--scratch FOLDER]

SOURCES is llama.cpp's source tree (vendor/llama.cpp in llama-cpp-python's sdist), run with this interpreter. With
--source, both convert the checkpoint in turn, and their tensors are compared. With --gigabytes, synthetic sharded
checkpoints are converted and compared with `cp` of the same bytes, both brought to disk. Best of the repeats.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parts"))

from gguf_parts.besides import Pair, beside_cp, beside_script
from gguf_parts.synthetic import synthetic


def main() -> None:
    """Print the table."""
    given = _arguments()
    print(f"{'checkpoint':>14} {'scheme':>6} {'tool':>10} {'wall s':>8} {'cpu s':>8} {'peak MB':>8}")
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        scratch = Path(folder)
        for scheme in given.schemes if given.source is not None else ():
            found = beside_script(given.llama_cpp, given.source, scheme, scratch, given.threads, given.repeat)
            _print(given.source.name, scheme, found, "llama.cpp")
        for gigabytes in given.gigabytes:
            source = synthetic(scratch / "synthetic", gigabytes)
            _print(f"{gigabytes:g} GB", "BF16", beside_cp(source, scratch, given.threads, given.repeat), "cp")
            shutil.rmtree(source)


def _print(label: str, scheme: str, pair: Pair, peer: str) -> None:
    for name, cost in (("modelmill", pair.ours), (peer, pair.theirs)):
        figures = f"{cost.seconds:8.2f} {cost.cpu:8.2f} {cost.megabytes:8.0f}"
        print(f"{label:>14} {scheme:>6} {name:>10} {figures}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[])
    parser.add_argument("--schemes", nargs="+", default=["F16", "BF16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    given = parser.parse_args()
    if given.source is not None and given.llama_cpp is None:
        parser.error("--source needs --llama-cpp")
    return given


if __name__ == "__main__":
    main()
