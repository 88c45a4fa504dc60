"""How well a model predicts a text after it was quantized, with and without an importance matrix."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf_parts.measured import CALIBRATION, lossless, step
from reference import llama


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexities:
    """One scheme both ways; `bytes` are the file's."""

    scheme: str
    bytes: int
    without: float
    with_imatrix: float


def score(file: Path, chunks: int) -> float:
    """Perplexity on text that comes after what importance matrices are made from."""
    seen = sum(len(path.read_text()) for path in CALIBRATION.glob("*.txt"))
    return llama.perplexity(file, chunks=chunks, start=seen)


def compare(
    checkpoint: Path,
    scratch: Path,
    schemes: Sequence[str],
    *,
    threads: int,
    chunks: int,
    calibration: int,
    imatrix: Path | None = None,
) -> Iterator[Perplexities]:
    """Quantize a checkpoint to each scheme both ways; the matrix is made from so many chunks where none is given."""
    source = lossless(checkpoint, scratch / "scored", threads)
    if imatrix is None:
        imatrix = scratch / "imatrix"
        step("imatrix", source.parent, imatrix, "gguf", threads, str(calibration))
    for scheme in schemes:
        found = []
        for way in ([], [str(imatrix)]):
            out = scratch / f"{scheme}-{len(way)}"
            step("quantize", source.parent, out, scheme, threads, *way)
            found.append(score(out / "model.gguf", chunks))
        size = (out / "model.gguf").stat().st_size
        yield Perplexities(scheme=scheme, bytes=size, without=found[0], with_imatrix=found[1])
