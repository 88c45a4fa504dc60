"""Graphs for the devices that ONNX Runtime computes on in halves: sound, whole, and of the size that was told."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_parts.folders import build, logits, quantize

from modelmill import ConvertError, Facts, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_onnx.offers import FORMAT, FROM_HUGGINGFACE, FROM_HUGGINGFACE_INT4, QUANTIZE
from modelmill_onnx.options import BuildInt4Options, BuildOptions, Provider, QuantizeOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own
IDS = list(range(5, 45))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = Shape(hidden=128, intermediate=384)
    return make_checkpoint(tmp_path_factory.mktemp("providers") / "source", "llama", shape=shape)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Any:
    return logits(build(source, tmp_path_factory.mktemp("wanted") / "onnx"), IDS)


def graph(folder: Path) -> onnx.GraphProto:
    return onnx.load(str(folder / "model.onnx"), load_external_data=False).graph


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def planned(source: Path, provider: Provider, scheme: str) -> tuple[Facts, int]:
    """The facts and the bytes of the graph that a later step is made of, or of the builder's int4."""
    options: Any = BuildOptions(execution_provider=provider)
    record: Any = FROM_HUGGINGFACE
    if scheme == "int4-builder":
        options, record = BuildInt4Options(execution_provider=provider), FROM_HUGGINGFACE_INT4
    outlook = Outlook(facts=facts(source), scheme=None, options=options)
    found = record.infer(outlook)
    assert isinstance(found, Facts)
    return found, record.estimate(outlook, found).bytes_out


@pytest.mark.parametrize("provider", ["cuda", "dml", "webgpu"])
def test_a_device_gets_halves_and_its_attention_also_below_integers(
    tmp_path: Path, source: Path, wanted: Any, provider: Provider
) -> None:
    known, told = planned(source, provider, "fp16")
    made = build(source, tmp_path / "made", known.scheme or "", execution_provider=provider)
    FORMAT.validate(made)
    assert (known.scheme, FORMAT.facts(made).scheme, FORMAT.facts(made).architecture) == ("fp16", "fp16", "llama")
    assert [node.op_type for node in graph(made).node].count("GroupQueryAttention") == 2
    assert {item.type.tensor_type.elem_type for item in graph(made).output} == {TensorProto.FLOAT16}
    assert told == pytest.approx(size(made), rel=0.1)
    assert np.abs(logits(made, IDS) - wanted).max() < 2e-3 * np.abs(wanted).max()
    for scheme, bound in (("int8", 0.04), ("int4", 0.35)):
        outlook = Outlook(facts=known, scheme=scheme, options=QuantizeOptions())
        inferred = QUANTIZE.infer(outlook)
        assert isinstance(inferred, Facts)
        smaller = quantize(made, tmp_path / scheme, scheme)
        FORMAT.validate(smaller)
        assert FORMAT.facts(smaller).scheme == inferred.scheme == scheme
        scales = {item.data_type for item in graph(smaller).initializer if item.name.endswith("_scales")}
        assert scales == {TensorProto.FLOAT16}
        assert QUANTIZE.estimate(outlook, inferred).bytes_out == pytest.approx(size(smaller), rel=0.1)
        assert 0 < np.abs(logits(smaller, IDS) - wanted).mean() < bound * np.abs(wanted).mean()


@pytest.mark.parametrize(
    ("name", "providers"), [("smollm3", ("cuda", "dml", "webgpu")), ("gemma3", ("dml",))], ids=["smollm3", "gemma3"]
)
def test_layers_with_embeddings_of_their_own_compute_the_same_on_every_device(
    tmp_path: Path, name: str, providers: tuple[str, ...]
) -> None:
    source = make_checkpoint(tmp_path / "source", name, shape=Shape(layers=6))
    wanted = logits(build(source, tmp_path / "cpu"), IDS)
    for provider in providers:
        made = build(source, tmp_path / provider, "fp16", execution_provider=provider)
        FORMAT.validate(made)
        assert np.abs(logits(made, IDS) - wanted).max() < 5e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("provider", ["cuda", "webgpu"])
def test_what_the_cpu_cannot_run_is_quantized_without_its_activations(tmp_path: Path, provider: Provider) -> None:
    source = make_checkpoint(tmp_path / "source", "qwen3")
    made = build(source, tmp_path / "made", "fp16", execution_provider=provider)
    smaller = quantize(made, tmp_path / "smaller")
    FORMAT.validate(smaller)
    assert FORMAT.facts(smaller).scheme == "int4"
    with pytest.raises(ConvertError, match=r"CPU provider.* cannot run this model: .*use the algorithm mse"):
        quantize(made, tmp_path / "refused", algorithm="importance")


@pytest.mark.parametrize("provider", ["cpu", "cuda", "dml", "webgpu"])
def test_the_builders_int4_computes_as_its_device_does(tmp_path: Path, source: Path, provider: Provider) -> None:
    known, told = planned(source, provider, "int4-builder")
    made = build(source, tmp_path / "made", "int4-builder", execution_provider=provider)
    FORMAT.validate(made)
    assert FORMAT.facts(made).scheme == known.scheme == "int4-builder"
    wide = TensorProto.FLOAT if provider == "cpu" else TensorProto.FLOAT16
    assert {item.type.tensor_type.elem_type for item in graph(made).output} == {wide}
    assert told == pytest.approx(size(made), rel=0.1)


def test_a_later_step_gets_fp32_for_the_cpu(source: Path) -> None:
    assert planned(source, "cpu", "fp32")[0].scheme == "fp32"


@pytest.mark.parametrize("provider", ["cuda", "dml"])
def test_fp32_that_the_builder_cannot_make_is_refused(source: Path, provider: Provider) -> None:
    options = BuildOptions(execution_provider=provider)
    found = FROM_HUGGINGFACE.infer(Outlook(facts=facts(source), scheme="fp32", options=options))
    assert isinstance(found, Refusal)
    assert f"in fp32 for execution_provider = {provider}" in found.reason
