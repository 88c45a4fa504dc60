"""Encoders: what is refused at plan time, and what their dynamic int8 computes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_parts.encoders import make_encoder, make_onnx_encoder, outputs
from onnx_parts.folders import build, run_quantizer

from modelmill import ConvertError, Facts, Hardware, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_onnx.encoders import DynamicOptions, ExportOptions, reduces_range
from modelmill_onnx.offers import (
    FORMAT,
    FROM_HUGGINGFACE,
    FROM_HUGGINGFACE_ENCODER,
    QUANTIZE,
    QUANTIZE_DYNAMIC,
)
from modelmill_onnx.options import BuildOptions, QuantizeOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own
IDS = np.array([[2, 10, 20, 30, 3], [2, 11, 21, 3, 0]], np.int64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts(make_encoder(tmp_path_factory.mktemp("encoder")))


def export(known: Facts, **options: Any) -> Facts | Refusal:
    return FROM_HUGGINGFACE_ENCODER.infer(Outlook(facts=known, scheme="fp32", options=ExportOptions(**options)))


@pytest.mark.parametrize(
    ("ending", "task"),
    [
        ("Model", "feature-extraction"),
        ("ForMaskedLM", "fill-mask"),
        ("ForQuestionAnswering", "question-answering"),
        ("ForSequenceClassification", "text-classification"),
        ("ForTokenClassification", "token-classification"),
    ],
)
def test_the_task_is_that_of_the_checkpoints_head(checkpoint: Facts, ending: str, task: str) -> None:
    known = replace(checkpoint, architecture=f"Bert{ending}")
    found = export(known)
    assert isinstance(found, Facts)
    assert (found.format, found.scheme, found.details["task"]) == ("onnx", "fp32", task)
    bare = export(known, task="feature-extraction")
    assert isinstance(bare, Facts)
    assert bare.details["task"] == "feature-extraction"


def layers(number: int) -> dict[str, Any]:
    return {"config": {"model_type": "bert", "num_hidden_layers": number}}


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"architecture": "LlamaForCausalLM"}, {}, "no tested encoder of a LlamaForCausalLM"),
        ({"architecture": None}, {}, "no named architecture"),
        ({"config": {"model_type": "mamba"}}, {}, "'mamba'); it makes one of albert, bert"),
        ({"files": {}}, {}, "no tokenizer"),
        ({}, {"task": "text-classification"}, "no weights for task = text-classification"),
        (layers(1), {}, "tensor 'encoder.layer.1.attention.output.LayerNorm.bias' has no place in a model of 1 layers"),
        (layers(3), {}, "no tensors of layer 2, and config.json asks for 3 layers"),
    ],
)
def test_what_has_no_export_is_refused(
    checkpoint: Facts, change: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    found = export(replace(checkpoint, **change), **options)
    assert isinstance(found, Refusal)
    assert said in found.reason


def test_each_way_leaves_the_other_kind_of_model_to_the_other(checkpoint: Facts, tmp_path: Path) -> None:
    language_model = facts(make_checkpoint(tmp_path / "llama", "llama"))
    assert isinstance(export(language_model), Refusal)
    built = FROM_HUGGINGFACE.infer(Outlook(facts=language_model, scheme="fp32", options=BuildOptions()))
    exported = export(checkpoint)
    refused = FROM_HUGGINGFACE.infer(Outlook(facts=checkpoint, scheme="fp32", options=BuildOptions()))
    assert isinstance(built, Facts)
    assert isinstance(exported, Facts)
    assert isinstance(refused, Refusal)
    for known, of_models, of_encoders in ((built, Facts, Refusal), (exported, Refusal, Facts)):
        for scheme in ("int8", "int4"):
            model = QUANTIZE.infer(Outlook(facts=known, scheme=scheme, options=QuantizeOptions()))
            assert isinstance(model, of_models)
        dynamic = QUANTIZE_DYNAMIC.infer(Outlook(facts=known, scheme="int8", options=DynamicOptions()))
        assert isinstance(dynamic, of_encoders)


@pytest.mark.parametrize("options", [{}, {"per_channel": False}], ids=str)
def test_dynamic_int8_stays_near_the_source(tmp_path: Path, options: dict[str, Any]) -> None:
    source = make_onnx_encoder(tmp_path / "source")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text("{}")
    made = run_quantizer("onnx-dynamic", source, tmp_path / "made", "int8", **options)
    FORMAT.validate(made)
    assert FORMAT.facts(made).scheme == "int8"
    assert (made / "1_Pooling" / "config.json").read_bytes() == b"{}"
    found, wanted = outputs(made, IDS), outputs(source, IDS)
    assert 0 < np.abs(found - wanted).max() < 0.06 * np.abs(wanted).max()
    assert FORMAT.tensors is not None
    values = {data.tensor.name: data for data in FORMAT.tensors(made)}
    for data in FORMAT.tensors(source):
        widened = values[data.tensor.name].values()
        assert 0 < np.abs(widened - data.values()).max() < 0.02 * np.abs(data.values()).max()


@pytest.mark.parametrize(
    ("fields", "asked", "reduced"),
    [
        (None, None, True),
        ({"os.arch": "amd64", "cpu.features": ["avx2"]}, None, True),
        ({"os.arch": "amd64", "cpu.features": ["avx512_vnni"]}, None, False),
        ({"os.arch": "amd64", "cpu.features": ["avx_vnni"]}, None, False),
        ({"os.arch": "arm64", "cpu.features": ["asimd"]}, None, False),
        ({"os.arch": "arm64"}, True, True),
        ({"os.arch": "amd64"}, False, False),
    ],
)
def test_weights_take_seven_bits_where_sums_would_overflow(
    *, fields: dict[str, Any] | None, asked: bool | None, reduced: bool
) -> None:
    hardware = None if fields is None else Hardware(fields=fields)
    assert reduces_range(DynamicOptions(reduce_range=asked), hardware) is reduced


def test_dynamic_int8_takes_no_language_model(tmp_path: Path) -> None:
    source = build(make_checkpoint(tmp_path / "source", "llama"), tmp_path / "built")
    with pytest.raises(ConvertError, match="takes the folder of an encoder"):
        run_quantizer("onnx-dynamic", source, tmp_path / "made", "int8")
