"""README's table of GGUF: every figure that it gives, measured beside llama.cpp's tools in one run.

    python tests/benchmarks/gguf_table.py CHECKPOINT [--llama-cpp SOURCES] [--only convert quantize …] [--gigabytes 4]
        [--threads 2] [--repeat 3] [--scratch FOLDER]

CHECKPOINT is a Hugging Face checkpoint, SOURCES llama.cpp's source tree (vendor/llama.cpp in llama-cpp-python's
sdist); without them, the tests' own model and sources are fetched. Needs some 20 GB of room and a quiet machine; the
lines are printed as they are known. `gguf_convert.py`, `gguf_quantize.py` and `gguf_perplexity.py` measure one thing
each, with more choices.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "parts"))

from gguf_parts import besides, perplexities
from gguf_parts.besides import Pair
from gguf_parts.measured import step
from gguf_parts.synthetic import synthetic

from reference import llama_build, models


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is measured on."""

    checkpoint: Path
    llama_cpp: Path
    gigabytes: float
    threads: int
    repeat: int
    scratch: Path


def convert(given: Given) -> Iterator[str]:
    pair = besides.beside_script(given.llama_cpp, given.checkpoint, "F16", given.scratch, given.threads, given.repeat)
    yield _line("into F16, beside llama.cpp's script", pair)


def copy(given: Given) -> Iterator[str]:
    source = synthetic(given.scratch / "synthetic", given.gigabytes)
    pair = besides.beside_cp(source, given.scratch, given.threads, given.repeat)
    yield _line(f"a checkpoint of {given.gigabytes:g} GB into BF16, beside `cp`, both with fsync", pair)
    shutil.rmtree(source)


def memory(given: Given) -> Iterator[str]:
    for gigabytes in (1, 8):
        source, out = synthetic(given.scratch / "synthetic", gigabytes), given.scratch / "large"
        cost = step("convert", source, out, "", given.threads)
        yield f"| peak memory for a checkpoint of {gigabytes} GB in shards | {cost.megabytes:.0f} MB | | |"
        shutil.rmtree(source)
        shutil.rmtree(out)


def quantize(given: Given) -> Iterator[str]:
    source = given.scratch / "lossless" / "model.gguf"
    step("convert", given.checkpoint, source.parent, "", given.threads)
    for scheme in ("Q8_0", "Q4_K_M"):
        pair = besides.quantizing(source, scheme, given.scratch, given.threads, given.repeat)
        yield _line(f"quantized to {scheme}, beside `llama_model_quantize`, equal bytes", pair)


def fused(given: Given) -> Iterator[str]:
    pair = besides.fused(given.llama_cpp, given.checkpoint, "Q4_K_M", given.scratch, given.threads, given.repeat)
    yield _line("from the checkpoint to Q4_K_M, beside script and quantizer", pair)


def build(given: Given) -> Iterator[str]:
    pair = besides.whole_set(given.llama_cpp, given.checkpoint, given.scratch, given.threads, given.repeat)
    yield _line("F16, Q8_0, Q4_K_M and Q4_0, described and signed, beside llama.cpp's tools one after another", pair)


def perplexity(given: Given) -> Iterator[str]:
    found = perplexities.compare(
        given.checkpoint, given.scratch, ("Q2_K", "Q4_K_M"), threads=given.threads, chunks=4, calibration=8
    )
    for each in found:
        yield (
            f"| perplexity of {each.scheme} with an importance matrix, beside without | {each.with_imatrix:.2f} "
            f"| {each.without:.2f} | {each.with_imatrix / each.without:.2f} |"
        )


PARTS: tuple[Callable[[Given], Iterator[str]], ...] = (convert, copy, memory, quantize, fused, build, perplexity)


def main() -> None:
    """Print the table."""
    names = [part.__name__ for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--llama-cpp", type=Path)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    told = parser.parse_args()
    print("| SmolLM2 135M in GGUF | modelmill | beside | ratio |\n|---|---|---|---|", flush=True)
    for part in PARTS:
        if part.__name__ not in told.only:
            continue
        with tempfile.TemporaryDirectory(dir=told.scratch) as scratch:
            given = Given(
                checkpoint=told.checkpoint or models.smollm2_checkpoint(),
                llama_cpp=told.llama_cpp or llama_build.sources() / "vendor" / "llama.cpp",
                gigabytes=told.gigabytes,
                threads=told.threads,
                repeat=told.repeat,
                scratch=Path(scratch),
            )
            for line in part(given):
                print(line, flush=True)


def _line(what: str, pair: Pair) -> str:
    cells = [f"{cost.seconds:.2f} s, {cost.megabytes:.0f} MB" for cost in (pair.ours, pair.theirs)]
    return f"| {what} | {cells[0]} | {cells[1]} | {pair.ratio:.2f} |"


if __name__ == "__main__":
    main()
