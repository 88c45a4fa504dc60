"""Whether the ONNX standard's own checker and ONNX Runtime take a model."""

from pathlib import Path
from typing import Any, Final

from modelmill import ConvertError

_STANDARD: Final = ("", "ai.onnx")
_RUNTIME_OWN: Final = ("SimplifiedLayerNormalization",)
"""Operators that ONNX Runtime registers in the standard's domain, where onnx.checker does not know them."""


def check_opens(path: Path) -> None:
    """ConvertError where onnx.checker finds a fault, or ONNX Runtime's CPU provider makes no session of the model."""
    check_graph(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConvertError(f"{path.name}: ONNX Runtime does not open it: {_said(error)}") from error


def check_graph(path: Path) -> None:
    """ConvertError where onnx.checker finds a fault; no weight is read."""
    try:
        from onnx import checker, load
    except ImportError:
        raise ConvertError("to check an ONNX model takes onnx and onnxruntime: pip install 'modelmill[onnx]'") from None
    try:
        model = load(str(path), load_external_data=False)
        _without_weights(model)
        checker.check_model(model)
    except Exception as error:
        raise ConvertError(f"{path.name}: onnx.checker finds a fault: {_said(error)}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def _without_weights(model: Any) -> None:
    """Declare external weights as inputs, so that the checker does not look for their files beside this process."""
    from onnx import TensorProto, helper

    graph = model.graph
    given = {item.name for item in graph.input}
    inside = []
    for tensor in graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            inside.append(tensor)
        elif tensor.name not in given:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in inside]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        if node.op_type in _RUNTIME_OWN and node.domain in _STANDARD:
            node.domain = "com.microsoft"
