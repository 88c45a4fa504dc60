"""Whether a checkpoint is ternary, found out once: the format `ternary`, a report, and the step that writes it."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from math import inf, prod
from pathlib import Path

from modelmill import ConvertError, Estimate, Facts, Job, Outlook, Refusal, create
from modelmill import checkpoint as checkpoints
from modelmill.checkpoint import TERNARY_TOLERANCE, declared_ternary, linear_layers, ternary_distance

FILE = "ternary.json"
SCHEME = "report"
_START, _NUMPY = 20 << 20, 12 << 20
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
    """`ternary_distance` of all values of a tensor, a block at a time; of F32 as BF16 rounds them.

    So there are at most 65,536 different values to count, whatever the tensor: those of an F32 tensor that is not
    ternary are nearly all different. What is ternary stays so, and the figure is off by at most 0.2 %.
    """
    import numpy as np

    from modelmill_bitnet.ternary import widened

    counts = np.zeros(1 << 16, np.int64)
    words = np.frombuffer(raw, "<u4" if dtype == "F32" else "<u2")
    for start in range(0, words.size, _BLOCK):
        block = words[start : start + _BLOCK]
        if dtype == "F32":
            block = ((block.astype(np.uint64) + 0x8000) >> 16).astype(np.uint16)
        counts += np.bincount(block, minlength=1 << 16)
    there = np.flatnonzero(counts)
    values = widened(there.astype("<u2").data.cast("B"), "F16" if dtype == "F16" else "BF16").astype(np.float64)
    found: Counter[float] = Counter()
    for value, count in zip(np.abs(values).tolist(), counts[there].tolist(), strict=True):
        found[value] += count
    return ternary_distance(found)


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
    """The time to look at every layer, which a model that is not ternary does not take; a layer and a counted block."""
    layers = [] if declared_ternary(outlook.facts) is not None else linear_layers(outlook.facts.tensors)
    sizes = [prod(tensor.shape) for tensor in layers]
    wide = any(tensor.dtype == "F32" for tensor in layers)
    layer = max(sizes, default=0)
    work = (4 if wide else 2) * layer + (26 if wide else 8) * min(layer, _BLOCK)
    return Estimate(
        bytes_out=sum(facts.files.values()),
        peak_memory=_START + bool(layers) * _NUMPY + work,
        seconds=0.4 + sum(sizes) / _VALUES_PER_SECOND,
    )
