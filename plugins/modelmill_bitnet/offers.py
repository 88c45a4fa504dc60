"""The records that this plugin offers."""

from modelmill import Converter, Format, Input, Job
from modelmill_bitnet import detection
from modelmill_bitnet import format as bitnet
from modelmill_bitnet.layout import I2_S, SCHEMES
from modelmill_bitnet.predict import (
    ARCHITECTURE_FIELD,
    I2sOptions,
    OtherOptions,
    TqOptions,
    estimate,
    infer_i2_s,
    infer_other,
    infer_tq,
)

_READS = (
    "*.safetensors",
    "*.json",
    "tokenizer.model",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "README.md",
)


def _run_tq(job: Job[TqOptions]) -> None:
    from modelmill_bitnet.convert import run_tq

    run_tq(job)


def _run_other(job: Job[OtherOptions]) -> None:
    from modelmill_bitnet.convert import run_other

    run_other(job)


def _run_i2_s(job: Job[I2sOptions]) -> None:
    from modelmill_bitnet.convert import run_i2_s

    run_i2_s(job)


def _artifact_path(path: str, name: str, _: str) -> str:
    return f"{name}-i2_s.gguf" if path.endswith(".gguf") else path


FORMAT = Format(
    name="bitnet",
    schemes=(I2_S,),
    detect=bitnet.detect,
    facts=bitnet.facts,
    validate=bitnet.validate,
    tensors=bitnet.tensors,
    artifact_path=_artifact_path,
    usage="python run_inference.py -m {file} -p 'The capital of France is'",
    runtimes=("bitnet",),
)

REPORT = Format(
    name="ternary",
    schemes=(detection.SCHEME,),
    detect=detection.detect,
    facts=detection.facts,
    validate=detection.validate,
)

MEASURE = Converter(
    name="measure-ternary",
    takes="huggingface",
    gives="ternary",
    schemes=(detection.SCHEME,),
    options=detection.NoOptions,
    run=detection.run,
    infer=detection.infer,
    estimate=detection.estimate,
    reads=("*.safetensors", "*.json"),
    tools=("numpy",),
    requirement="modelmill[gguf]",
)

OTHER_TO_GGUF = Converter(
    name="ternary-to-gguf",
    takes="huggingface",
    gives="gguf",
    schemes=SCHEMES,
    options=OtherOptions,
    run=_run_other,
    infer=infer_other,
    estimate=estimate,
    reads=_READS,
    inputs={"ternary": Input(format="ternary", required=True)},
    tools=("numpy",),
    requirement="modelmill[gguf]",
)

TO_GGUF = Converter(
    name="bitnet-to-gguf",
    takes="huggingface",
    gives="gguf",
    schemes=SCHEMES,
    options=TqOptions,
    run=_run_tq,
    infer=infer_tq,
    estimate=estimate,
    reads=_READS,
    tools=("numpy",),
    requirement="modelmill[gguf]",
)

TO_BITNET_CPP = Converter(
    name="bitnet-to-i2_s",
    takes="huggingface",
    gives="bitnet",
    schemes=(I2_S,),
    options=I2sOptions,
    run=_run_i2_s,
    infer=infer_i2_s,
    estimate=estimate,
    reads=_READS,
    tools=("numpy",),
    requirement="modelmill[gguf]",
    uses_hardware=(ARCHITECTURE_FIELD,),
)
