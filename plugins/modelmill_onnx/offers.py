"""The records that this plugin offers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelmill import Converter, Format, Input, Job, Quantizer, TensorData, Toolchain
from modelmill_onnx import encoders, plan
from modelmill_onnx import format as folder
from modelmill_onnx.options import BuildInt4Options, BuildOptions, QuantizeOptions

_BUILDER_READS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.*",
)
_BUILDER_TOOLS = ("onnxruntime-genai", "onnxruntime", "onnx-ir", "onnx", "torch", "transformers", "tokenizers", "numpy")


_ENCODER_READS = (
    "*.safetensors",
    "*.json",
    "*.model",
    "vocab.*",
    "merges.txt",
)
"""Everything below the folder too: sentence-transformers keeps its pooling there."""
OPTIMUM = Toolchain(
    name="optimum-onnx",
    requires=(
        "optimum-onnx==0.1.0",
        "optimum==2.1.0",
        "transformers==4.57.6",
        "torch==2.13.0",
        "onnx==1.23.2",
        "onnxruntime==1.31.1",
    ),
)
"""optimum-onnx stops at transformers 4, where the model builder begins at 5."""


_GENERATE = (
    "python -c \"import onnxruntime_genai as og; m = og.Model('{path}'); t = og.Tokenizer(m); "
    "p = og.GeneratorParams(m); p.set_search_options(max_length=64); g = og.Generator(m, p); "
    "g.append_tokens(t.encode('The capital of France is')); "
    "exec('while not g.is_done(): g.generate_next_token()'); print(t.decode(g.get_sequence(0)))\""
)
_ENCODE = (
    "python -c \"import numpy as np, onnxruntime as o, tokenizers as t; s = o.InferenceSession('{path}/{file}'); "
    "e = t.Tokenizer.from_file('{path}/tokenizer.json').encode('The capital of France is Paris.'); "
    "a = dict(input_ids=e.ids, attention_mask=e.attention_mask, token_type_ids=e.type_ids); "
    'print(s.run(None, {{i.name: np.array([a[i.name]]) for i in s.get_inputs()}})[0])"'
)


def _build(job: Job[Any]) -> None:
    from modelmill_onnx.builder import run

    run(job)


def _export(job: Job[encoders.ExportOptions]) -> None:
    from modelmill_onnx.export import run

    run(job)


def _quantize_dynamic(job: Job[encoders.DynamicOptions]) -> None:
    from modelmill_onnx.dynamic import run

    run(job)


def _quantize(job: Job[QuantizeOptions]) -> None:
    from modelmill_onnx.quantize import run

    run(job)


def _tensors(path: Path) -> Iterator[TensorData]:
    from modelmill_onnx.read import tensors

    return tensors(path)


FORMAT = Format(
    name="onnx",
    schemes=folder.SCHEMES,
    detect=folder.detect,
    facts=folder.facts,
    validate=folder.validate,
    tensors=_tensors,
    usage={folder.GENAI: _GENERATE, "tokenizer.json": _ENCODE},
    runtimes=("onnxruntime",),
)

FROM_HUGGINGFACE = Converter(
    name="huggingface-to-onnx",
    takes="huggingface",
    gives="onnx",
    schemes=("fp32", "fp16"),
    options=BuildOptions,
    run=_build,
    infer=plan.infer_build,
    estimate=plan.estimate_build,
    reads=_BUILDER_READS,
    tools=_BUILDER_TOOLS,
    requirement="modelmill[onnx]",
)

FROM_HUGGINGFACE_INT4 = Converter(
    name="huggingface-to-onnx-int4",
    takes="huggingface",
    gives="onnx",
    schemes=("int4-builder",),
    options=BuildInt4Options,
    run=_build,
    infer=plan.infer_build,
    estimate=plan.estimate_build,
    reads=_BUILDER_READS,
    tools=_BUILDER_TOOLS,
    requirement="modelmill[onnx]",
)

QUANTIZE = Quantizer(
    name="onnx-quantize",
    format="onnx",
    schemes=("int4", "int8"),
    options=QuantizeOptions,
    run=_quantize,
    infer=plan.infer_quantize,
    estimate=plan.estimate_quantize,
    inputs={"calibration": Input(format="text")},
    tools=("onnxruntime", "onnx", "torch", "tokenizers", "numpy"),
    requirement="modelmill[onnx]",
)

FROM_HUGGINGFACE_ENCODER = Converter(
    name="huggingface-to-onnx-encoder",
    takes="huggingface",
    gives="onnx",
    schemes=("fp32",),
    options=encoders.ExportOptions,
    run=_export,
    infer=encoders.infer_export,
    estimate=encoders.estimate_export,
    reads=_ENCODER_READS,
    toolchain=OPTIMUM,
)

QUANTIZE_DYNAMIC = Quantizer(
    name="onnx-dynamic",
    format="onnx",
    schemes=("int8",),
    options=encoders.DynamicOptions,
    run=_quantize_dynamic,
    infer=encoders.infer_dynamic,
    estimate=encoders.estimate_dynamic,
    uses_hardware=encoders.HARDWARE,
    tools=("onnxruntime", "onnx", "numpy"),
    requirement="modelmill[onnx]",
)
