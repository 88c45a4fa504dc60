"""The GGUF layout of a ternary model of another class than BitNet's: its own architecture, with ternary layers.

Such models hold ternary layers in a graph that was there before (Llama, Qwen), without BitNet's inner norms. llama.cpp
loads `blk.N.NAME.scale` for every architecture (src/llama-model.cpp, "generic pass"), but multiplies with it only
where the graph passes it on (src/models/llama.cpp, qwen3.cpp): in another graph it would be ignored without an error.
"""

from collections.abc import Mapping
from dataclasses import replace

from modelmill import ConvertError, Facts, Tensor
from modelmill_bitnet.checkpoint import Form, form_of_other
from modelmill_bitnet.layout import Layout, Planned, file_type_fields, llama_cpp
from modelmill_gguf import api

SCALED = ("llama", "qwen3")
"""Architectures whose graph in llama.cpp multiplies every layer with its scale."""
_SCALE = "_scale"


def plan(facts: Facts, scheme: str) -> Layout:
    """Lay the file out. ConvertError for what llama.cpp would compute wrongly, or that does not fit."""
    form = form_of_other(facts)
    runtime = llama_cpp(scheme)
    layout = api.plan_conversion(_plain(facts, form), None, None)
    name = layout.architecture.name
    if name not in SCALED:
        raise ConvertError(
            f"config.json names {facts.architecture}; llama.cpp multiplies a ternary layer with its scale in the "
            f"architectures {' and '.join(SCALED)}, and ignores it in {name}"
        )
    stored = {tensor.name: tensor for tensor in facts.tensors}
    return Layout(
        runtime=runtime,
        architecture=name,
        form=form,
        planned=tuple(_planned(each, stored, form, runtime.kind) for each in layout.planned),
        fields=(
            *(field for field in layout.fields if field.key != "general.file_type"),
            *file_type_fields(runtime.kind),
        ),
        vocabulary=layout.vocabulary,
    )


def _plain(facts: Facts, form: Form) -> Facts:
    """The checkpoint as it would be without its packing."""
    config = {key: value for key, value in facts.config.items() if key != "quantization_config"}
    if not form.packed:
        return replace(facts, config=config, quantization=None)
    names = {tensor.name for tensor in facts.tensors}
    kind = next(
        (tensor.dtype for tensor in facts.tensors if len(tensor.shape) > 1 and tensor.dtype != "U8"),
        "F16",
    )
    tensors = tuple(
        Tensor(name=tensor.name, dtype=kind, shape=(4 * tensor.shape[0], *tensor.shape[1:]))
        if tensor.dtype == "U8"
        else tensor
        for tensor in facts.tensors
        if not (tensor.name.endswith(_SCALE) and tensor.name.removesuffix(_SCALE) in names)
    )
    return replace(facts, config=config, quantization=None, tensors=tensors)


def _planned(each: api.PlannedTensor, stored: Mapping[str, Tensor], form: Form, kind: str) -> Planned:
    if each.source is None:
        return Planned(source=each.tensor, tensor=each.tensor, constant=each.extra.values if each.extra else ())
    source, shape = stored[each.source.name], each.tensor.shape
    if not each.tensor.name.startswith("blk.") or len(shape) != 2:  # noqa: PLR2004 - a matrix
        return Planned(source=source, tensor=each.tensor)
    scale = None
    if form.packed:
        if source.dtype != "U8":
            raise ConvertError(f"tensor {source.name!r} is {source.dtype}, where the layers of this model are packed")
        scale = f"{source.name}{_SCALE}"
        if scale not in stored:
            raise ConvertError(f"the checkpoint lacks the tensor {scale!r}, the scale of the packed weights")
        if stored[scale].shape != (1,):
            raise ConvertError(f"tensor {scale!r} has the shape {list(stored[scale].shape)}, but a layer has one scale")
    block = llama_cpp(kind).block
    return Planned(
        source=source,
        tensor=Tensor(name=each.tensor.name, dtype=kind if shape[-1] % block == 0 else "F16", shape=shape),
        ternary=True,
        scale=Tensor(name=f"{each.tensor.name.removesuffix('.weight')}.scale", dtype="F32", shape=(1,)),
        stored_scale=scale,
        heads=each.heads if each.change in (api.Change.PERMUTE_QUERY, api.Change.PERMUTE_KEY) else None,
    )
