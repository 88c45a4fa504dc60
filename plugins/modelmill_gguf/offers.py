"""The records of the format gguf and of the converter into it; what they do is imported when they do it."""

from collections.abc import Iterator
from pathlib import Path

from modelmill import Converter, Estimate, Facts, Format, Job, Outlook, Refusal, TensorData
from modelmill_gguf.file_types import SCHEMES
from modelmill_gguf.options import ConvertOptions

TEMPLATES = "additional_chat_templates/*.jinja"


def _detect(folder: Path) -> bool:
    from modelmill_gguf import model

    return model.detect(folder)


def _facts(folder: Path) -> Facts:
    from modelmill_gguf import model

    return model.facts(folder)


def _validate(folder: Path) -> None:
    from modelmill_gguf import model

    model.validate(folder)


def _tensors(folder: Path) -> Iterator[TensorData]:
    from modelmill_gguf import tensors

    return tensors.tensors(folder)


def _artifact_path(path: str, name: str, scheme: str) -> str:
    from modelmill_gguf import split

    return split.artifact_path(path, name, scheme)


def _run(job: Job[ConvertOptions]) -> None:
    from modelmill_gguf import convert

    convert.run(job)


def _infer(outlook: Outlook[ConvertOptions]) -> Facts | Refusal:
    from modelmill_gguf import predict

    return predict.infer(outlook)


def _estimate(outlook: Outlook[ConvertOptions], facts: Facts) -> Estimate:
    from modelmill_gguf import predict

    return predict.estimate(outlook, facts)


FORMAT = Format(
    name="gguf",
    schemes=SCHEMES,
    detect=_detect,
    facts=_facts,
    validate=_validate,
    tensors=_tensors,
    artifact_path=_artifact_path,
    usage="llama-cli -m {file} -p 'What is the capital of France?'",
    runtimes=("llamacpp",),
)

FROM_HUGGINGFACE = Converter(
    name="huggingface-to-gguf",
    takes="huggingface",
    gives="gguf",
    schemes=("F32", "F16", "BF16"),
    options=ConvertOptions,
    run=_run,
    infer=_infer,
    estimate=_estimate,
    reads=("*.safetensors", "*.json", "tokenizer.model", "chat_template.jinja", TEMPLATES, "README.md"),
    tools=("numpy",),
    requirement="modelmill[gguf]",
    uses_lineage=True,
)
