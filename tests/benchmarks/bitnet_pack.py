"""Packing a ternary checkpoint of BitNet b1.58 2B4T's shape, beside `cp` of that checkpoint, both brought to disk.

    python tests/benchmarks/bitnet_pack.py [--layers 30] [--forms bf16 packed] [--schemes TQ2_0 TQ1_0 I2_S]
        [--threads 2] [--repeat 3] [--scratch FOLDER]

30 layers are 2.4 billion weights: 4.8 GB of BF16 master weights, or 1.2 GB packed by transformers; an artifact takes
1.2 GB. Each round copies, then packs, so that a busy moment meets both. Best of the rounds.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parts"))

from bitnet_parts.synthetic import synthetic
from gguf_parts.besides import in_turn, synced
from gguf_parts.measured import Cost, run


def main() -> None:
    """Print the table."""
    given = _arguments()
    print(f"{'checkpoint':>10} {'scheme':>6} {'wall s':>8} {'cpu s':>8} {'peak MB':>8} {'of cp':>6}")
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        for form in given.forms:
            source = synthetic(Path(folder) / form, given.layers, packed=form == "packed")
            _measure(source, form, given)
            shutil.rmtree(source)


def _measure(source: Path, form: str, given: argparse.Namespace) -> None:
    out = source.parent / "out"

    def pack(scheme: str) -> Cost:
        words = ["-m", "bitnet_parts.pack", str(source), str(out), scheme, str(given.threads)]
        return synced(out, run([sys.executable, *words], threads=given.threads))

    found = in_turn(
        given.repeat,
        {
            "cp": lambda: synced(out, run(["cp", "-r", str(source), str(out)])),
            **{scheme: partial(pack, scheme) for scheme in given.schemes},
        },
    )
    for name, cost in found.items():
        ratio = cost.seconds / found["cp"].seconds
        print(
            f"{form:>10} {name:>6} {cost.seconds:8.2f} {cost.cpu:8.2f} {cost.megabytes:8.0f} {ratio:6.2f}", flush=True
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--forms", nargs="+", default=["bf16", "packed"], choices=["bf16", "packed"])
    parser.add_argument("--schemes", nargs="+", default=["TQ2_0", "TQ1_0", "I2_S"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
