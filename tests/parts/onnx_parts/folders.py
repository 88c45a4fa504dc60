"""ONNX folders made from checkpoints, in this process."""

from pathlib import Path
from typing import Any

from modelmill import Job, Limits
from modelmill_onnx import modelmill_converters, modelmill_quantizers


def build(source: Path, out: Path, scheme: str = "fp32", threads: int = 1, **options: Any) -> Path:
    """The model builder's folder of a checkpoint."""
    return _run(modelmill_converters(), source, out, scheme, threads, {}, options)


def quantize(source: Path, out: Path, scheme: str = "int4", threads: int = 1, **options: Any) -> Path:
    """The quantized folder of an ONNX folder; `calibration` is a folder with text."""
    calibration = options.pop("calibration", None)
    inputs = {"calibration": calibration} if calibration else {}
    return _run(modelmill_quantizers(), source, out, scheme, threads, inputs, options)


def _run(
    offers: Any, source: Path, out: Path, scheme: str, threads: int, inputs: dict[str, Path], options: dict[str, Any]
) -> Path:
    record = next(found for found in offers if scheme in found.schemes)
    return _job(record, source, out, scheme, threads, inputs, options)


def run_quantizer(name: str, source: Path, out: Path, scheme: str, threads: int = 1, **options: Any) -> Path:
    """What the quantizer of this name makes of an ONNX folder."""
    (record,) = (found for found in modelmill_quantizers() if found.name == name)
    return _job(record, source, out, scheme, threads, {}, options)


def _job(
    record: Any, source: Path, out: Path, scheme: str, threads: int, inputs: dict[str, Path], options: dict[str, Any]
) -> Path:
    scratch = out.parent / f"{out.name}-scratch"
    for folder in (out, scratch):
        folder.mkdir(parents=True)
    record.run(
        Job(
            source=source,
            inputs=inputs,
            out=out,
            scheme=scheme,
            options=record.options(**options),
            hardware=None,
            limits=Limits(threads=threads, scratch=scratch),
        )
    )
    return out


def logits(folder: Path, ids: list[int]) -> Any:
    """What ONNX Runtime computes for a text, [tokens, vocabulary]."""
    import numpy as np
    import onnxruntime

    from modelmill_onnx.calibrate import feeds

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], feeds(session, folder, np.array([ids], np.int64)))[0][0]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file's bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
