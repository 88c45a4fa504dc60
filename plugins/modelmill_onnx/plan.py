"""What the steps of this plugin will give and take, known from facts before anything runs."""

from dataclasses import replace
from math import prod
from typing import Any, Final, TypeVar

from modelmill import ConvertError, Estimate, Facts, Outlook, Refusal
from modelmill.recipe import Recipe, RecipeError, Setting
from modelmill_onnx.architectures import genai_type
from modelmill_onnx.assignment import BITS, algorithm_for, assign_bits, recipe_for
from modelmill_onnx.faults import checkpoint_fault, head_size
from modelmill_onnx.foretold import as_tensors, foretell, setting_of
from modelmill_onnx.options import BuildInt4Options, BuildOptions, QuantizeOptions
from modelmill_onnx.sizes import GATHERED, count, in_blocks

_MIB: Final = 1024**2
_GRAPH: Final = 10_000
_PER_LAYER: Final = 6_500
"""Bytes of a graph without its weights, as the builder writes it."""
_Options = TypeVar("_Options", bound=BuildOptions)
_RUNTIME: Final = 400 * _MIB
"""Bytes of Python with torch, transformers and ONNX Runtime loaded."""
_QUANTIZER: Final = 240 * _MIB
"""Bytes of Python with ONNX and its runtime loaded."""
_TORCH: Final = 150 * _MIB
_MATRIX: Final = 2
_HALVES_ALONE: Final = ("cuda", "dml")
"""Whose fp32 graphs, without GroupQueryAttention, onnxruntime-genai 0.18 leaves with outputs that no node makes."""


def infer_build(outlook: Outlook[_Options]) -> Facts | Refusal:
    """The facts of the ONNX folder that a checkpoint becomes, or why it cannot."""
    scheme = outlook.scheme or _own_scheme(outlook.options)
    reason = checkpoint_fault(outlook.facts) or _option_fault(outlook.options, scheme)
    if reason:
        return Refusal(reason=reason)
    facts = outlook.facts
    return Facts(
        format="onnx",
        scheme=scheme,
        architecture=genai_type(facts.architecture or ""),
        config=facts.config,
        quantization=scheme if scheme.startswith("int") else facts.quantization,
        licence=facts.licence,
        details={
            **facts.details,
            "onnx": {**_values(facts), "named": foretell(facts, outlook.options.execution_provider)},
            "genai": True,
        },
    )


def _own_scheme(options: BuildOptions) -> str:
    """What the runtime computes with, where a later step only needs a graph: halves on everything but the CPU."""
    if isinstance(options, BuildInt4Options):
        return "int4-builder"
    return "fp32" if options.execution_provider == "cpu" else "fp16"


def _option_fault(options: BuildOptions, scheme: str) -> str | None:
    if scheme == "fp16" and options.execution_provider == "cpu":
        return (
            "fp16 is for execution_provider = cuda, dml or webgpu; ONNX Runtime's CPU provider computes in fp32: "
            "use the scheme fp32, int8 or int4"
        )
    if scheme == "fp32" and options.execution_provider in _HALVES_ALONE:
        return (
            f"the model builder makes no whole graph in fp32 for execution_provider = {options.execution_provider}, "
            "which computes in fp16: use the scheme fp16, int8 or int4"
        )
    if options.layout == "foundry-local" and not options.model_name:
        return "layout = foundry-local needs model_name, the name that Foundry Local shows; add it to the options"
    if options.model_name and options.layout != "foundry-local":
        return (
            f"model_name = {options.model_name} is the name that Foundry Local shows, and layout = {options.layout} "
            "has none; add layout = foundry-local to the options, or leave model_name out"
        )
    return None


def _values(facts: Facts) -> dict[str, Any]:
    """How many values the matrices, the tables and the rest hold, and the bytes of the files beside them.

    A shared embedding counts as a matrix.
    """
    tied = bool(facts.config.get("tie_word_embeddings", False))
    beside = sum(size for name, size in facts.files.items() if name.startswith("tokenizer"))
    beside += _GRAPH + _PER_LAYER * facts.config.get("num_hidden_layers", 0)
    matrices: list[tuple[int, int]] = []
    tables: list[tuple[int, int]] = []
    rest = 0
    for tensor in facts.tensors:
        if len(tensor.shape) != _MATRIX:
            rest += prod(tensor.shape)
            continue
        rows, width = tensor.shape
        (tables if "embed_tokens" in tensor.name and not tied else matrices).append((rows, width))
    # The caches of sines and cosines.
    rest += facts.config.get("max_position_embeddings", 0) * head_size(facts)
    return count(matrices, tables, rest, beside)


def estimate_build(outlook: Outlook[_Options], facts: Facts) -> Estimate:
    """Bytes from the tensors; memory and time as measured for SmolLM2 and Gemma 3."""
    values = facts.details["onnx"]
    width = 4 if facts.scheme == "fp32" or outlook.options.execution_provider == "cpu" else 2
    whole = values["matrices"] + values["tables"] + values["rest"]
    beside = values["beside"]
    if isinstance(outlook.options, BuildInt4Options):
        options = outlook.options
        size = in_blocks(values["rows"], 4, options.block_size, width, symmetric=options.symmetric)
        size += width * (values["rest"] + values["tables"])
        return Estimate(bytes_out=size + beside, peak_memory=_RUNTIME + 8 * whole, seconds=8 + whole / 3e7)
    return Estimate(bytes_out=width * whole + beside, peak_memory=_RUNTIME + 5 * whole, seconds=7 + whole / 1.5e8)


def infer_quantize(outlook: Outlook[QuantizeOptions]) -> Facts | Refusal:
    """The facts of the quantized folder, or why it cannot be."""
    facts, options = outlook.facts, outlook.options
    scheme = outlook.scheme or "int8"
    if not facts.details.get("genai"):
        return Refusal(reason="onnx-quantize is for causal language models; an encoder becomes int8 by onnx-dynamic")
    if options.symmetric and options.algorithm in ("k_quant", "hqq"):
        return Refusal(
            reason=f"{options.algorithm} finds a zero point for every block: use symmetric = false, or the algorithm "
            "importance, mse, rtn or gptq"
        )
    algorithm = algorithm_for(options, scheme, outlook.inputs, facts.scheme or "")
    if algorithm == "gptq" and "calibration" not in outlook.inputs:
        return Refusal(
            reason="gptq needs a calibration text: name a source of text in `inputs = { calibration = … }`, or use "
            "the algorithm importance"
        )
    if options.calibration_chunks < 1:
        return Refusal(reason=f"calibration_chunks must be at least 1, not {options.calibration_chunks}")
    if facts.scheme not in ("fp32", "fp16"):
        return Refusal(reason=f"onnx-quantize takes a model in fp32 or fp16, and this one is {facts.scheme}")
    try:
        bits = _foretold_bits(facts, scheme, options.recipe)
    except (ConvertError, RecipeError) as error:
        return Refusal(reason=str(error))
    if bits is not None and not bits:
        return Refusal(reason=f"there is no matrix that the recipe quantizes; use the scheme {facts.scheme}")
    return replace(facts, scheme=scheme, quantization=scheme, tensors=(), files={})


def _foretold_bits(facts: Facts, scheme: str, own: Recipe | None) -> dict[str, int] | None:
    """Bits of every matrix that a recipe quantizes, by name; None where the matrices' names are not known yet.

    ConvertError and RecipeError for a recipe that cannot be followed, which the step would find, too.
    """
    named = facts.details.get("onnx", {}).get("named")
    setting = setting_of(facts.config, named) if named else None
    recipe = recipe_for(scheme, own)
    if setting is None:
        assign_bits(recipe, (), Setting())
        return None
    return assign_bits(recipe, as_tensors(named), setting, own)


def estimate_quantize(outlook: Outlook[QuantizeOptions], facts: Facts) -> Estimate:
    """Bytes by the recipe, or as if the scheme's own type held every matrix; time as measured for SmolLM2."""
    values = facts.details["onnx"]
    options = outlook.options
    algorithm = algorithm_for(options, facts.scheme or "", outlook.inputs, outlook.facts.scheme or "")
    scheme = facts.scheme or "int8"
    quantized = values["matrices"] + values["tables"]
    width = 2 if outlook.facts.scheme == "fp16" else 4
    bits = _foretold_bits(outlook.facts, scheme, options.recipe) if options.recipe else None
    groups: list[tuple[int | None, dict[str, int]]]
    if bits is None:
        groups = [(BITS[scheme], values[rows]) for rows in ("rows", "table_rows")]
    else:
        groups = [(bits.get(name), {str(columns): rows}) for name, rows, columns in values["named"]]
    size = sum(in_blocks(rows, kind, options.block_size, width, symmetric=options.symmetric) for kind, rows in groups)
    per_second = {"rtn": 4e7, "mse": 8e6, "hqq": 6e6, "k_quant": 4e6, "importance": 7e6, "gptq": 3e6}[algorithm]
    tokens = 512 * options.calibration_chunks if "calibration" in outlook.inputs else 512
    tokens = tokens if algorithm in ("gptq", "importance") else 0
    memory = _QUANTIZER + 7 * values["largest"]
    if algorithm in ("gptq", "importance"):  # the model in a session, with its weights packed beside themselves
        memory = max(memory, _QUANTIZER + 7 * (quantized + values["rest"]))
    if algorithm == "gptq":
        # Hessians in float64, of which facts do not tell that matrices share one, and half as much for activations.
        memory += _TORCH + min(GATHERED, 8 * values["squares"]) * 3 // 2
    return Estimate(
        bytes_out=size + width * values["rest"] + values["beside"],
        peak_memory=memory,
        seconds=3 + quantized / per_second + tokens * quantized / 2e10,
    )
