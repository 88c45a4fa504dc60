"""What a conversion will give and cost, known from headers alone."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

from modelmill import ConvertError, Estimate, Facts, Hardware, Outlook, Refusal
from modelmill_bitnet import architectures
from modelmill_bitnet.layout import I2_S, SCHEMES, Layout, Runtime, bitnet_cpp, llama_cpp, plan
from modelmill_gguf import api

FILE = "model.gguf"
ARCHITECTURE_FIELD = "os.arch"
_VARIANTS = {"amd64": "x86-act-parallel", "arm64": "arm-neon"}
_START = 38 << 20
_VALUES_PER_SECOND = 120e6


@dataclass(frozen=True, slots=True, kw_only=True)
class TqOptions:
    """There is nothing to choose: a ternary model has its values, and its scheme says how they lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherOptions:
    """`experimental` cuts a model to ternary values that was not trained so, and marks the artifact."""

    experimental: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class I2sOptions:
    """`layout` is that of the bitnet.cpp build that will load the file, where the hardware does not say it."""

    layout: Literal["x86-act-parallel", "arm-neon"] | None = None


def i2_s_runtime(options: I2sOptions, hardware: Hardware | None) -> Runtime:
    """bitnet.cpp in the layout that is asked for, or that the hardware's CPU has. ConvertError where neither says."""
    found: str | None = options.layout
    if found is None:
        machine = hardware.fields.get(ARCHITECTURE_FIELD) if hardware else None
        found = _VARIANTS.get(machine) if isinstance(machine, str) else None
    if found is None:
        raise ConvertError(
            "the layout of I2_S depends on the CPU, and the hardware profile says of os.arch neither amd64 nor arm64; "
            f"set options = {{ layout = ... }} to one of {', '.join(_VARIANTS.values())}"
        )
    return bitnet_cpp(found)


def infer_tq(outlook: Outlook[TqOptions]) -> Facts | Refusal:
    """The facts of the file for llama.cpp, exact, or why it cannot be."""
    try:
        return _facts(outlook, plan(outlook.facts, llama_cpp(outlook.scheme or SCHEMES[-1])), "gguf")
    except ConvertError as error:
        return Refusal(reason=str(error))


def infer_other(outlook: Outlook[OtherOptions]) -> Facts | Refusal:
    """The facts of the file of a model of another class, should its weights turn out ternary; or why it cannot be."""
    try:
        found = _facts(outlook, architectures.plan(outlook.facts, outlook.scheme or SCHEMES[-1]), "gguf")
    except ConvertError as error:
        return Refusal(reason=str(error))
    return replace(found, details={**found.details, "experimental": True}) if outlook.options.experimental else found


def infer_i2_s(outlook: Outlook[I2sOptions]) -> Facts | Refusal:
    """The facts of the file for bitnet.cpp, exact, or why it cannot be."""
    try:
        return _facts(outlook, plan(outlook.facts, i2_s_runtime(outlook.options, outlook.hardware)), "bitnet")
    except ConvertError as error:
        return Refusal(reason=str(error))


def _facts(outlook: Outlook[Any], layout: Layout, format_name: str) -> Facts:
    """`quantization` stays what the checkpoint says: packed values are stored in another way, none is lost."""
    facts, runtime = outlook.facts, layout.runtime
    fields = (*layout.fields, *layout.vocabulary.fields)
    return replace(
        facts,
        format=format_name,
        scheme=runtime.kind,
        architecture=layout.architecture,
        tensors=layout.tensors,
        files={FILE: api.file_size(layout.metadata_bytes, layout.tensors)},
        quantization=facts.quantization or runtime.kind,
        details={
            **facts.details,
            "gguf": api.gguf_details(fields, layout.metadata_bytes, len(layout.fields) + layout.vocabulary.count),
            "tokenizer": api.tokenizer_details(layout.vocabulary),
            "exceptions": {_held(runtime): list(layout.fallbacks)},
            **({} if runtime.variant is None else {I2_S: runtime.variant, "notes": _notes(runtime.variant)}),
        },
    )


def _held(runtime: Runtime) -> str:
    return f"their rows do not divide into blocks of {runtime.block} values, so F16 holds them, exactly"


def _notes(variant: str) -> list[str]:
    unverified = (
        "unverified: no file of this format has been loaded by bitnet.cpp yet; layout, type number and architecture "
        "names follow its sources"
    )
    return [f"its I2_S tensors have the layout {variant}", unverified]


def estimate(outlook: Outlook[Any], facts: Facts) -> Estimate:  # noqa: ARG001 - the contract says which
    """Bytes out to the byte; memory for one layer's values while they are packed."""
    sizes = [prod(tensor.shape) for tensor in facts.tensors if tensor.name.startswith("blk.")]
    return Estimate(
        bytes_out=sum(facts.files.values()),
        peak_memory=_START + max(sizes, default=0) * 5 // 2,
        seconds=0.5 + sum(sizes) / _VALUES_PER_SECOND,
    )
