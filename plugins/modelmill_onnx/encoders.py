"""What the steps for encoders (embeddings, classifiers) will give and take, known from facts before anything runs."""

from dataclasses import dataclass, replace
from math import prod
from typing import Final, Literal

from modelmill import Estimate, Facts, Hardware, Outlook, Refusal
from modelmill_onnx.whole import layer_fault

Task = Literal["feature-extraction", "fill-mask", "question-answering", "text-classification", "token-classification"]
FAMILIES: Final = (
    "albert",
    "bert",
    "camembert",
    "deberta-v2",
    "distilbert",
    "electra",
    "mpnet",
    "roberta",
    "xlm-roberta",
)
"""Values of config.json's model_type whose export is tested. optimum-onnx knows more."""
_TASKS: Final[dict[str, Task]] = {
    "Model": "feature-extraction",
    "ForMaskedLM": "fill-mask",
    "ForQuestionAnswering": "question-answering",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
}
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model", "vocab.txt")
_MIB: Final = 1024**2
_GRAPH: Final = 40_000
_PER_LAYER: Final = 25_000
"""Bytes of a graph without its weights, as torch's exporter writes it."""
_RUNTIME: Final = 450 * _MIB
_MATRIX: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How an encoder is exported.

    `task` is what the graph computes: the output of the checkpoint's own head, unless it is named. Every encoder
    can give `feature-extraction`, its last hidden state.
    """

    task: Task | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicOptions:
    """How an encoder's weights become int8, its activations being quantized while it runs.

    `per_channel` gives every output of a matrix a scale of its own. `reduce_range` takes 7 bits of the 8: where it is
    not given, for hardware whose sums of 8-bit products overflow (x86 without VNNI).
    """

    per_channel: bool = True
    reduce_range: bool | None = None


HARDWARE: Final = ("os.arch", "cpu.features")
"""What of a hardware profile tells whether sums of 8-bit products overflow."""
_X86: Final = "amd64"


def reduces_range(options: DynamicOptions, hardware: Hardware | None) -> bool:
    """Whether weights take 7 bits: as asked, else what the hardware needs, and the safe way where it is not known.

    x86 adds pairs of products of unsigned and signed bytes in 16 bits (vpmaddubsw), unless it has VNNI.
    """
    if options.reduce_range is not None:
        return options.reduce_range
    fields = {} if hardware is None else hardware.fields
    features = fields.get("cpu.features", ())
    return fields.get("os.arch", _X86) == _X86 and not any("vnni" in feature for feature in features)


def task_of(facts: Facts, asked: Task | None) -> Task | str:
    """The task that a checkpoint is exported for, or a sentence that says why it cannot be."""
    name = facts.architecture or ""
    own = next((task for ending, task in _TASKS.items() if name.endswith(ending)), None)
    family = facts.config.get("model_type")
    if own is None or family not in FAMILIES:
        return (
            f"optimum-onnx makes no tested encoder of a {name or 'model of no named architecture'} "
            f"(model_type {family!r}); it makes one of {', '.join(FAMILIES)}, as a model or with the head of one of "
            f"the tasks {', '.join(sorted(_TASKS.values()))}"
        )
    if asked not in (None, own, "feature-extraction"):
        return f"the checkpoint is a {name} and has no weights for task = {asked}; it can give {own}"
    return asked or own


def infer_export(outlook: Outlook[ExportOptions]) -> Facts | Refusal:
    """The facts of the ONNX folder that an encoder becomes, or why it cannot."""
    facts = outlook.facts
    found = task_of(facts, outlook.options.task)
    if found not in _TASKS.values():
        return Refusal(reason=found)
    if not any(name in facts.files for name in _TOKENIZERS):
        return Refusal(
            reason="the checkpoint has no tokenizer (tokenizer.json, or a vocabulary that one is made of); add the "
            "tokenizer's files to the source"
        )
    layers = layers_of(facts)
    if layers and (reason := layer_fault(facts.tensors, layers)):
        return Refusal(reason=reason)
    return replace(
        facts,
        format="onnx",
        scheme="fp32",
        tensors=(),
        files={},
        details={**facts.details, "onnx": _values(facts), "genai": False, "task": found},
    )


def layers_of(facts: Facts) -> int:
    """How many layers config.json asks for, under any of its names; 0 where it does not say."""
    found = facts.config.get("num_hidden_layers") or facts.config.get("n_layers")
    return found if type(found) is int else 0


def _values(facts: Facts) -> dict[str, int]:
    sizes = [prod(tensor.shape) for tensor in facts.tensors]
    matrices = [prod(tensor.shape) for tensor in facts.tensors if len(tensor.shape) == _MATRIX]
    layers = layers_of(facts)
    beside = sum(size for name, size in facts.files.items() if not name.endswith((".safetensors", ".index.json")))
    return {
        "matrices": sum(matrices),
        "tables": 0,
        "rest": sum(sizes) - sum(matrices),
        "largest": max(matrices, default=0),
        "beside": beside + _GRAPH + _PER_LAYER * layers,
    }


def estimate_export(outlook: Outlook[ExportOptions], facts: Facts) -> Estimate:  # noqa: ARG001 - as every estimate
    """Bytes from the tensors; memory and time as measured for MiniLM."""
    values = facts.details["onnx"]
    whole = values["matrices"] + values["rest"]
    return Estimate(bytes_out=4 * whole + values["beside"], peak_memory=_RUNTIME + 16 * whole, seconds=9 + whole / 5e6)


def infer_dynamic(outlook: Outlook[DynamicOptions]) -> Facts | Refusal:
    """The facts of an encoder in int8, or why it cannot be."""
    facts = outlook.facts
    if facts.details.get("genai"):
        return Refusal(
            reason="onnx-dynamic is for encoders; a causal language model becomes int8 or int4 by onnx-quantize"
        )
    if facts.scheme != "fp32":
        return Refusal(reason=f"onnx-dynamic takes a model in fp32, and this one is {facts.scheme}")
    return replace(facts, scheme="int8", quantization="int8", tensors=(), files={})


def estimate_dynamic(outlook: Outlook[DynamicOptions], facts: Facts) -> Estimate:  # noqa: ARG001 - as every estimate
    """Bytes as if every matrix became int8; memory and time as measured for MiniLM."""
    values = facts.details["onnx"]
    whole = values["matrices"] + values["rest"]
    return Estimate(
        bytes_out=values["matrices"] + 4 * values["rest"] + values["beside"],
        peak_memory=80 * _MIB + 20 * whole,
        seconds=2 + whole / 8e6,
    )
