"""One step of the gguf plugin, or llama.cpp's quantizer, as the whole work of a process.

    python -m gguf_parts.measured_child convert|quantize|fused|imatrix|peer SOURCE OUT SCHEME THREADS [GIVEN]

GIVEN is the folder of an importance matrix, for `imatrix` the number of chunks to make one from.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any


def main(kind: str, source: str, out: str, scheme: str, threads: str, given: str | None = None) -> None:
    """Do the work."""
    Path(out).mkdir()
    if kind == "peer":
        _peer(Path(source), Path(out) / "model.gguf", scheme, int(threads), given)
    else:
        _ours(kind, Path(source), Path(out), scheme, int(threads), given)


def _ours(kind: str, source: Path, out: Path, scheme: str, threads: int, given: str | None) -> None:
    from modelmill import Job, Limits
    from modelmill_gguf import offers
    from modelmill_gguf.fused_record import FUSED
    from modelmill_gguf.imatrix_record import MAKE_IMATRIX, ImatrixOptions
    from modelmill_gguf.quantize_record import QUANTIZER

    records = {"convert": offers.FROM_HUGGINGFACE, "quantize": QUANTIZER, "fused": FUSED, "imatrix": MAKE_IMATRIX}
    record: Any = records[kind]
    options, inputs = record.options(), {"imatrix": Path(given)} if given else {}
    if kind == "imatrix":
        from gguf_parts.measured import CALIBRATION

        options, inputs = ImatrixOptions(chunks=int(given or 8)), {"calibration": CALIBRATION}
    if kind == "convert" and not scheme:
        from modelmill.checkpoint import facts
        from modelmill_gguf.layout import lossless_scheme

        scheme = lossless_scheme(facts(source))
    with tempfile.TemporaryDirectory() as scratch:
        limits = Limits(threads=threads, scratch=Path(scratch))
        record.run(
            Job(source=source, inputs=inputs, out=out, scheme=scheme, options=options, hardware=None, limits=limits)
        )


def _peer(source: Path, out: Path, scheme: str, threads: int, imatrix: str | None) -> None:
    """llama.cpp's quantizer, told about the importance matrix what its own tool would tell it."""
    from gguf_parts import peer_process

    settings: dict[str, Any] = {}
    if imatrix is not None:
        from modelmill_gguf.imatrix import open_imatrix
        from modelmill_gguf.imatrix_weights import weights

        file = open_imatrix(Path(imatrix))
        settings = {
            "imatrix": dict(weights(file)),
            "keys": [
                ("quantize.imatrix.file", "imatrix.gguf"),
                ("quantize.imatrix.dataset", file.datasets[0]),
                ("quantize.imatrix.entries_count", len(file.entries)),
                ("quantize.imatrix.chunks_count", file.chunks),
            ],
        }
    sys.exit(not peer_process.quantize(source, out, scheme, threads=threads, **settings))


if __name__ == "__main__":
    main(*sys.argv[1:])
