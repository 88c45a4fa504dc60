"""What the format shows of a folder's tensors: ONNX Runtime's own numbers, quantized or not."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_parts.folders import build, quantize

from modelmill import TensorData
from modelmill.checkpoint import facts
from modelmill.inspection.folder import inspect
from modelmill.registry import load
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_onnx.offers import FORMAT
from modelmill_onnx.tensors import CACHES

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own


@pytest.fixture(scope="module", params=[False, True], ids=["own table", "shared table"])
def built(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("tensors")
    config = {"tie_word_embeddings": request.param}
    return build(make_checkpoint(folder / "source", "llama", config=config), folder / "onnx")


def tensors(folder: Path) -> dict[str, TensorData]:
    assert FORMAT.tensors is not None
    return {data.tensor.name: data for data in FORMAT.tensors(folder)}


def computed(folder: Path, name: str) -> Any:
    """A quantized matrix as ONNX Runtime multiplies with it: the product of the identity."""
    model = onnx.load(str(folder / "model.onnx"))
    (node,) = (node for node in model.graph.node if node.op_type == "MatMulNBits" and node.input[1].startswith(name))
    width = next(item.i for item in node.attribute if item.name == "K")
    kept = [item for item in node.attribute if item.name != "accuracy_level"]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.input[0], node.output[0] = "one", "values"
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("one", TensorProto.FLOAT, (width, width))],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in node.input],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    alone = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(alone.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"one": np.eye(width, dtype=np.float32)})[0]


def test_plain_tensors_are_what_onnx_reads(built: Path) -> None:
    found = tensors(built)
    model = onnx.load(str(built / "model.onnx"))
    for tensor in model.graph.initializer:
        wanted = numpy_helper.to_array(tensor)
        assert found[tensor.name].tensor.shape == wanted.shape
        assert bytes(found[tensor.name].raw) == wanted.tobytes()
        np.testing.assert_array_equal(found[tensor.name].values(), wanted.astype(np.float32))


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("int4", {}),
        ("int4", {"symmetric": True, "block_size": 128}),
        ("int8", {"block_size": 16}),
        ("int8", {"symmetric": True}),
    ],
)
def test_quantized_tensors_are_what_onnx_runtime_computes_with(
    tmp_path: Path, built: Path, scheme: str, options: dict[str, Any]
) -> None:
    source, made = tensors(built), quantize(built, tmp_path / "made", scheme, algorithm="rtn", **options)
    found = tensors(made)
    assert source.keys() <= found.keys()
    packed = [data for data in found.values() if data.tensor.dtype.startswith("int")]
    assert {data.tensor.dtype for data in packed} == {f"{scheme}-b{options.get('block_size', 32)}"}
    for data in packed:
        name, before, after = data.tensor.name, source[data.tensor.name].values(), data.values()
        assert after.dtype == np.float32
        assert 0 < np.abs(after[: len(before), : before.shape[1]] - before).max() < 0.2 * np.abs(before).max()
        if "embed" not in name:
            np.testing.assert_allclose(after, computed(made, name), rtol=1e-6, atol=1e-7)


def test_numbers_in_the_graph_itself_are_read_from_every_field(tmp_path: Path) -> None:
    values: dict[int, list[float]] = {
        TensorProto.FLOAT: [1.5, -2],
        TensorProto.DOUBLE: [0.25, 3],
        TensorProto.INT32: [-7, 7],
        TensorProto.INT64: [-9, 2**40],
        TensorProto.UINT64: [3, 4],
        TensorProto.UINT8: [0, 255],
        TensorProto.INT8: [-128, 127],
        TensorProto.FLOAT16: [0.5, -65504],
        TensorProto.BFLOAT16: [0.5, -2],
        TensorProto.BOOL: [1, 0],
    }
    weights = [helper.make_tensor(f"w{dtype}", dtype, (2,), numbers) for dtype, numbers in values.items()]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w1"], ["out"])],
        "numbers",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (2,))],
        weights,
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    found = tensors(tmp_path)
    for dtype, numbers in values.items():
        np.testing.assert_array_equal(found[f"w{dtype}"].values(), np.array(numbers, np.float32))


STRETCHED = {
    "original_max_position_embeddings": 128,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8},
}


@pytest.mark.parametrize(
    ("architecture", "config", "untrained"),
    [
        ("llama", {}, {"cos_cache", "sin_cache"}),
        # Two embeddings, one of them of a kind of layer that two layers do not have.
        ("gemma3", {}, {f"{name}_cache_{kind}" for name in ("cos", "sin") for kind in ("global", "local")}),
        # Short and long caches, between which the graph chooses.
        ("phi3", STRETCHED, {""}),
    ],
)
def test_a_models_parameters_are_what_was_trained(
    tmp_path: Path, architecture: str, config: dict[str, Any], untrained: set[str]
) -> None:
    checkpoint = make_checkpoint(tmp_path / "source", architecture, config=config)
    wanted = sum(math.prod(tensor.shape) for tensor in facts(checkpoint).tensors)
    made = build(checkpoint, tmp_path / "made")
    smaller = quantize(made, tmp_path / "smaller", "int4", algorithm="rtn")
    for folder in (made, smaller):
        others = [tensor for tensor in FORMAT.facts(folder).tensors if not tensor.weight]
        assert {item.name for item in others if item.dtype == "FLOAT" and item.shape} == untrained
        found = inspect(folder, load())
        assert found.parameters == sum(item.weights for item in found.types) == wanted


def test_the_caches_of_every_operator_that_takes_some_are_known() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    names = [[item.name for item in schema.inputs] for schema in get_all_operator_schema()]
    kinds = [schema.name for schema in get_all_operator_schema()]
    taking = {(kind, tuple(inputs)) for kind, inputs in zip(kinds, names, strict=True) if "cos_cache" in inputs}
    assert len(taking) > 4
    for kind, inputs in taking:
        found = set(inputs[CACHES.get(kind, slice(0))])
        assert {"cos_cache", "sin_cache"} <= found <= {"cos_cache", "sin_cache", "position_ids"}, kind
    assert CACHES.keys() == {kind for kind, _ in taking}
