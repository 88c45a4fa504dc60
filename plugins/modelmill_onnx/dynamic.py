"""An encoder in ONNX → int8 weights, its activations quantized while it runs, by ONNX Runtime."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from modelmill import ConvertError, Job, create
from modelmill_onnx.checker import check_graph
from modelmill_onnx.encoders import DynamicOptions, reduces_range
from modelmill_onnx.format import GENAI, check_structure
from modelmill_onnx.staged import DESCRIPTIONS, with_files

MODEL: Final = "model.onnx"
_SMALL: Final = 1024
_DATA: Final = (f"{MODEL}.data", f"{MODEL}_data")


def run(job: Job[DynamicOptions]) -> None:
    """Quantize `model.onnx`; everything else of the folder travels along."""
    job = with_files(job)
    if MODEL not in check_structure(job.source) or (job.source / GENAI).is_file():
        raise ConvertError(
            f"onnx-dynamic takes the folder of an encoder with {MODEL}, as huggingface-to-onnx-encoder writes it"
        )
    check_graph(job.source / MODEL)
    model = _quantized(job)
    with create(job, MODEL) as file:
        file.write(model.SerializeToString(deterministic=True))
    for path in sorted(job.source.rglob("*")):
        name = path.relative_to(job.source)
        if path.is_file() and name.as_posix() not in (MODEL, *_DATA, *DESCRIPTIONS):
            (job.out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, job.out / name)


def _quantized(job: Job[DynamicOptions]) -> Any:
    """What `quantize_dynamic` makes; it is not called itself, for it writes a file beside the model that it reads."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.quant_utils import QuantizationMode, add_infer_metadata
    from onnxruntime.quantization.registry import IntegerOpsRegistry

    model = onnx.shape_inference.infer_shapes(onnx.load(str(job.source / MODEL), load_external_data=False))
    onnx.load_external_data_for_model(model, str(job.source))
    add_infer_metadata(model)
    with _in_memory() as tool:
        quantizer = tool.ONNXQuantizer(
            model,
            job.options.per_channel,
            reduces_range(job.options, job.hardware),
            QuantizationMode.IntegerOps,
            False,  # noqa: FBT003 - `static`, by its place as all before it
            QuantType.QInt8,
            QuantType.QUInt8,
            None,
            [],
            [],
            list(IntegerOpsRegistry),
            {"MatMulConstBOnly": True},
        )
        quantizer.quantize_model()
    return quantizer.model.model


@contextmanager
def _in_memory() -> Iterator[Any]:
    """The quantizer's module, which would infer shapes through files in a temporary folder, at the weights' size."""
    from onnxruntime.quantization import onnx_quantizer

    own = onnx_quantizer.save_and_reload_model_with_shape_infer
    onnx_quantizer.save_and_reload_model_with_shape_infer = _inferred
    try:
        yield onnx_quantizer
    finally:
        onnx_quantizer.save_and_reload_model_with_shape_infer = own


def _inferred(model: Any) -> Any:
    """The model with its shapes inferred on a copy without the bytes of larger weights, which shapes do not need."""
    import onnx

    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        if len(tensor.raw_data) > _SMALL:
            tensor.ClearField("raw_data")
    found = onnx.shape_inference.infer_shapes(light).graph.value_info
    del model.graph.value_info[:]
    model.graph.value_info.extend(found)
    return model
