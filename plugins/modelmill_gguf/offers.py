"""The records of the format gguf and of the converter into it."""

from collections.abc import Iterator
from pathlib import Path

from modelmill import Converter, Format, Job, TensorData
from modelmill_gguf import model, predict
from modelmill_gguf.file_types import SCHEMES
from modelmill_gguf.layout import DTYPES
from modelmill_gguf.options import ConvertOptions


def _tensors(folder: Path) -> Iterator[TensorData]:
    from modelmill_gguf.tensors import tensors

    return tensors(folder)


def _run(job: Job[ConvertOptions]) -> None:
    from modelmill_gguf.convert import run

    run(job)


FORMAT = Format(
    name="gguf",
    schemes=SCHEMES,
    detect=model.detect,
    facts=model.facts,
    validate=model.validate,
    tensors=_tensors,
    artifact_path=model.artifact_path,
    usage="llama-cli -m {file} -p 'What is the capital of France?'",
)

FROM_HUGGINGFACE = Converter(
    name="huggingface-to-gguf",
    takes="huggingface",
    gives="gguf",
    schemes=DTYPES[::-1],
    options=ConvertOptions,
    run=_run,
    infer=predict.infer,
    estimate=predict.estimate,
    reads=(
        "*.safetensors",
        "*.json",
        "tokenizer.model",
        "chat_template.jinja",
        "README.md",
    ),
    tools=("numpy",),
    requirement="modelmill[gguf]",
)
