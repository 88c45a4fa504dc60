"""The plugin's quantizer, called as a step calls it."""

from pathlib import Path
from typing import Any

from modelmill import Facts, Job, Limits, Outlook
from modelmill.recipe import Recipe
from modelmill_gguf.fields import value
from modelmill_gguf.header import read_header
from modelmill_gguf.imatrix import facts as imatrix_facts
from modelmill_gguf.quantize_policy import QuantizeOptions
from modelmill_gguf.quantize_record import QUANTIZER

__all__ = ["QuantizeOptions", "Recipe", "facts", "outlook", "quantize"]


def quantize(
    source: Path,
    out: Path,
    scheme: str,
    *,
    imatrix: Path | None = None,
    threads: int = 2,
    options: QuantizeOptions | None = None,
) -> Path:
    """Quantize the model in the folder `source` into the new folder `out`."""
    out.mkdir()
    job = Job(
        source=source,
        inputs={"imatrix": imatrix} if imatrix else {},
        out=out,
        scheme=scheme,
        options=options or QuantizeOptions(),
        hardware=None,
        limits=Limits(threads=threads, scratch=out.parent / f"{out.name}-scratch"),
    )
    QUANTIZER.run(job)
    return out / "model.gguf"


def facts(path: Path, **details: Any) -> Facts:
    """The facts of a GGUF file."""

    header = read_header(path)
    keys = {key: value(field) for key, field in header.fields.items() if field.element is None}
    return Facts(
        format="gguf",
        scheme="F16",
        tensors=tuple(info.tensor for info in header.tensors),
        files={path.name: header.file_size},
        details={
            "gguf": {"metadata_bytes": header.metadata_size, "keys": keys, "alignment": header.alignment},
            **details,
        },
    )


def outlook(
    path: Path,
    scheme: str,
    *,
    imatrix: Path | None = None,
    options: QuantizeOptions | None = None,
    **details: Any,
) -> Outlook[QuantizeOptions]:
    """What the planner knows before the step runs."""
    return Outlook(
        facts=facts(path, **details),
        scheme=scheme,
        options=options or QuantizeOptions(),
        inputs={"imatrix": imatrix_facts(imatrix)} if imatrix else {},
    )
