"""Whether a checkpoint is ternary, found out once: the format `ternary`, a report, and the step that writes it."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from math import inf, prod
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Estimate, Facts, Job, Outlook, Refusal, create
from modelmill import checkpoint as checkpoints
from modelmill.checkpoint import TERNARY_TOLERANCE, declared_ternary, linear_layers, ternary_distance

FILE = "ternary.json"
SCHEME = "report"
_START = 60 << 20
_BLOCK = 1 << 20
_VALUES_PER_SECOND = 60e6


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """There is nothing to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found: what the configuration declares, else the layer that lies farthest from ternary values.

    `distance` is that of `modelmill.checkpoint.ternary_distance`, over all values of a layer. Layers are measured
    by name until one is beyond the tolerance: `measured` says how many.
    """

    ternary: bool
    declared: str | None = None
    layer: str | None = None
    distance: float | None = None
    measured: int = 0


def run(job: Job[NoOptions]) -> None:
    """Write the report on a checkpoint. ConvertError for one that is not sound."""
    report = examine(job.source)
    with create(job, FILE) as file:
        file.write(json.dumps(asdict(report), indent=2, sort_keys=True).encode())


def examine(folder: Path) -> Report:
    """The report on a checkpoint's folder."""
    config = checkpoints.read_object(folder / "config.json")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    # Not all facts: a tokenizer takes longer to read than the first layer, which is mostly the only one measured.
    if (declared := declared_ternary(Facts(format="huggingface", architecture=name, config=config))) is not None:
        return Report(ternary=True, declared=declared)
    worst, layer, count = 0.0, None, 0
    with checkpoints.open_checkpoint(folder) as weights:
        for tensor in linear_layers(weights.tensors):
            raw = weights.raw(tensor.name)
            found = distance(raw, tensor.dtype)
            raw.release()
            weights.release(tensor.name)
            count += 1
            if layer is None or found > worst:
                worst, layer = found, tensor.name
            if found > TERNARY_TOLERANCE:
                break
    ternary = layer is not None and worst <= TERNARY_TOLERANCE
    return Report(ternary=ternary, layer=layer, distance=round(worst, 6) if worst < inf else None, measured=count)


def distance(raw: memoryview, dtype: str) -> float:
    """`ternary_distance` of all values of a tensor, a block at a time."""
    import numpy as np

    from modelmill_bitnet.ternary import widened

    found: Counter[float] = Counter()
    words = np.frombuffer(raw, "<u4" if dtype == "F32" else "<u2")
    for start in range(0, words.size, _BLOCK):
        bits, counts = _distinct(words[start : start + _BLOCK])
        values = np.abs(widened(bits.data.cast("B"), dtype).astype(np.float64))
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            found[value] += count
    return ternary_distance(found)


def _distinct(words: Any) -> tuple[Any, Any]:
    """The different ones of some words, and how often each occurs."""
    import numpy as np

    if words.itemsize == 4:  # noqa: PLR2004 - float32, too many for a table
        return np.unique(words, return_counts=True)
    counts = np.bincount(words, minlength=1 << 16)
    there = np.flatnonzero(counts)
    return there.astype("<u2"), counts[there]


def read(folder: Path) -> Report:
    """The report in a folder. ConvertError where there is none."""
    found = checkpoints.read_object(folder / FILE)
    try:
        return Report(**found)
    except TypeError as error:
        raise ConvertError(f"{FILE}: not a report on whether a model is ternary: {error}") from None


def detect(folder: Path) -> bool:
    """Whether a folder holds a report."""
    return (folder / FILE).is_file()


def facts(folder: Path) -> Facts:
    """What the report says, and its size."""
    read(folder)
    return Facts(format="ternary", scheme=SCHEME, files={FILE: (folder / FILE).stat().st_size})


def validate(folder: Path) -> None:
    """ConvertError for what is no report."""
    read(folder)


def infer(outlook: Outlook[NoOptions]) -> Facts | Refusal:
    """A small file, whatever it will say."""
    return Facts(format="ternary", scheme=SCHEME, files={FILE: 200}, licence=outlook.facts.licence)


def estimate(outlook: Outlook[NoOptions], facts: Facts) -> Estimate:
    """The time to look at every layer, which a model that is not ternary does not take."""
    largest = max((prod(tensor.shape) for tensor in outlook.facts.tensors), default=0)
    declared = declared_ternary(outlook.facts) is not None
    values = 0 if declared else sum(prod(tensor.shape) for tensor in linear_layers(outlook.facts.tensors))
    return Estimate(
        bytes_out=sum(facts.files.values()),
        peak_memory=_START + 4 * min(largest, 64 << 20),
        seconds=0.4 + values / _VALUES_PER_SECOND,
    )
