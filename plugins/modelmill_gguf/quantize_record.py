"""The quantizer of GGUF as the engine sees it: what it takes, what comes out, and what that costs."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from modelmill import ConvertError, Estimate, Facts, Input, Job, Outlook, Quantizer, Refusal
from modelmill_gguf import file_types, files, kernels
from modelmill_gguf.fields import frame_size
from modelmill_gguf.header import DEFAULT_ALIGNMENT
from modelmill_gguf.quantize_metadata import DROPPED, ImportanceSummary, added_fields
from modelmill_gguf.quantize_policy import SCHEMES, TERNARY, Decision, QuantizeOptions, check_importance, decide
from modelmill_gguf.writer import metadata_size

# Values that one core quantizes in a second, by type: what one core of a common server did, rounded.
_RATES = {
    "Q8_0": 1.8e8,
    "Q4_0": 4e8,
    "Q4_1": 3e8,
    "Q5_0": 2.5e8,
    "Q5_1": 2.5e8,
    "Q6_K": 1.8e7,
    "Q5_K": 1e7,
    "Q4_K": 8e6,
}
_RATE_OF_LOW_BITS, _RATE_OF_COPIES = 1.5e6, 5e8
_START = 34 << 20
_BLOCKS = 20 << 20


def infer(outlook: Outlook[QuantizeOptions]) -> Facts | Refusal:
    """The facts of the result, its size exact, or why there can be none."""
    try:
        return predict(outlook.facts, _scheme(outlook), outlook.options, outlook.inputs.get("imatrix"))
    except ConvertError as error:
        return Refusal(reason=str(error))


def predict(facts: Facts, scheme: str, options: QuantizeOptions, imatrix: Facts | None) -> Facts:
    """The facts of a GGUF model after it is quantized; raises ConvertError for what cannot be done."""
    header = facts.details.get("gguf", {})
    if scheme in TERNARY and not facts.details.get("ternary"):
        raise ConvertError(
            f"{scheme} keeps only the signs of weights, and this model was not trained to have three values; "
            "choose Q4_K_M, or Q2_K with an importance matrix."
        )
    importance = None if imatrix is None else importance_of(imatrix)
    names = None if imatrix is None else [tensor.name for tensor in imatrix.tensors or facts.tensors]
    decisions = decide(scheme, options, header.get("keys", {}) | header.get("heads", {}), facts.tensors, names)
    if not facts.details.get("ternary"):
        _check_ternary(decisions)
    if imatrix is not None and imatrix.tensors:
        _check_importances(decisions, {tensor.name: prod(tensor.shape) for tensor in imatrix.tensors})
    metadata = _metadata_bytes(header, scheme, importance)
    added = {"general.file_type": file_types.NUMBERS[scheme], "general.quantization_version": 2}
    kept = {key: value for key, value in header.get("keys", {}).items() if key not in DROPPED}
    tensors = tuple(item.result for item in decisions)
    return replace(
        facts,
        scheme=scheme,
        quantization=scheme,
        tensors=tensors,
        files=files.sizes(metadata, tensors, options.split_max_size, header.get("alignment", DEFAULT_ALIGNMENT)),
        details={
            **facts.details,
            "gguf": {**header, "metadata_bytes": metadata, "keys": {**kept, **added}},
            "exceptions": _exceptions(decisions),
        },
    )


def _check_ternary(decisions: tuple[Decision, ...]) -> None:
    """Overrides and recipes may name ternary types too; raise ConvertError for them in a model that is not ternary."""
    for item in decisions:
        kind, name = item.result.dtype, item.source.name
        if kind in TERNARY and item.source.dtype != kind:
            raise ConvertError(
                f"The tensor {name!r} would become {kind}, which keeps only the signs of weights, and this model was "
                "not trained to have three values; give it another type."
            )


def _check_importances(decisions: tuple[Decision, ...], sizes: Mapping[str, int]) -> None:
    """Raise ConvertError for an importance matrix of another model: by its names, or by its number of columns."""
    if not any(item.source.name in sizes for item in decisions):
        raise ConvertError(
            f"The importance matrix has nothing for any tensor of the model; it is for {min(sizes)!r} and the like, "
            "so make one from the same model."
        )
    for item in decisions:
        if item.source.name in sizes:
            check_importance(item, sizes[item.source.name])


def _exceptions(decisions: tuple[Decision, ...]) -> dict[str, list[str]]:
    """The tensors that get another type than the recipe wants, by the reason why."""
    found: dict[str, list[str]] = {}
    for item in decisions:
        if item.fell_back:
            reason = f"their rows do not divide into blocks of {item.wanted}, so they become {item.result.dtype}"
            found.setdefault(reason, []).append(item.source.name)
    return found


def estimate(outlook: Outlook[QuantizeOptions], facts: Facts) -> Estimate:
    """Bytes, memory and time, from the types that were predicted."""
    written = sum(facts.files.values())
    before = {tensor.name: tensor.dtype for tensor in outlook.facts.tensors}
    return Estimate(
        bytes_out=written,
        # Python and numpy, the blocks under way on a few cores, and the header, as bytes and as objects.
        peak_memory=_START + min(written, _BLOCKS) + 2 * int(facts.details.get("gguf", {}).get("metadata_bytes", 0)),
        seconds=sum(
            prod(tensor.shape) / _rate(tensor.dtype, copied=tensor.dtype == before.get(tensor.name))
            for tensor in facts.tensors
        ),
    )


def importance_of(facts: Facts) -> ImportanceSummary:
    """What a quantized file will say of an importance matrix, from its facts."""
    datasets = facts.details.get("datasets") or (None,)
    return ImportanceSummary(
        file=next(iter(facts.files), "imatrix.gguf"),
        dataset=datasets[0],
        entries=len(facts.tensors),
        # A matrix that is yet to be made will say how many; the number of bytes is the same.
        chunks=1 if facts.details.get("chunks") is None else int(facts.details["chunks"]),
    )


def _run(job: Job[QuantizeOptions]) -> None:
    from modelmill_gguf.quantize import run

    run(job)


def _scheme(outlook: Outlook[QuantizeOptions]) -> str:
    # A later step that needs some quantized GGUF gets the one that loses least.
    return outlook.scheme or "Q8_0"


def _metadata_bytes(header: Mapping[str, Any], scheme: str, importance: ImportanceSummary | None) -> int:
    added = added_fields(scheme, importance)
    replaced = [key for key in {field.key for field in added} | DROPPED if key in header.get("keys", {})]
    return (
        int(header.get("metadata_bytes", 0))
        + metadata_size(added)
        - sum(_size_of(key, header["keys"][key]) for key in replaced)
    )


def _size_of(key: str, value: Any) -> int:
    if isinstance(value, str):
        return frame_size(key, is_array=False) + 8 + len(value.encode())
    return frame_size(key, is_array=False) + (2 if key in ("split.no", "split.count") else 4)


def _rate(kind: str, *, copied: bool) -> float:
    return _RATE_OF_COPIES if copied else _RATES.get(kind, _RATE_OF_LOW_BITS)


QUANTIZER: Quantizer[QuantizeOptions] = Quantizer(
    name="gguf-quantize",
    format="gguf",
    schemes=SCHEMES,
    options=QuantizeOptions,
    run=_run,
    infer=infer,
    estimate=estimate,
    reads=("*.gguf",),
    inputs={"imatrix": Input(format="imatrix")},
    tools=("numpy", kernels.PREBUILT),
    requirement=kernels.REQUIREMENTS[kernels.PREBUILT],
    more_tools=kernels.more_tools,
)
