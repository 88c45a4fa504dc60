"""A checkpoint → ONNX through onnxruntime-genai's model builder, whose quirks are handled here and nowhere else."""

import contextlib
import json
import math
import re
import sys
from collections.abc import Iterator
from functools import partialmethod
from typing import Any

import torch

from modelmill import ConvertError, Job
from modelmill.checkpoint import open_checkpoint
from modelmill_onnx.blocks import report_padding
from modelmill_onnx.graph import read_graph
from modelmill_onnx.layouts import add_foundry_local
from modelmill_onnx.options import BuildInt4Options, BuildOptions
from modelmill_onnx.whole import check_loaded

_EPSILON = 1e-5
"""Of torch's own layer norm, and of OLMo's, which no configuration names."""
_SHARED = "lm_head.MatMul.weight"
PRECISIONS = {"fp32": "fp32", "fp16": "fp16", "int4-builder": "int4"}


def run(job: Job[BuildOptions]) -> None:
    """Build `model.onnx`, its weights, `genai_config.json` and the tokenizer's files."""
    torch.set_num_threads(job.limits.threads)
    source, provider = str(job.source), job.options.execution_provider
    precision, cache = PRECISIONS[job.scheme], str(job.limits.scratch / "builder")
    given = [f"{key}={value}" for key, value in _extra_options(job.options).items()]
    with open_checkpoint(job.source):
        pass  # headers, shards and sizes are checked, and told of by name, before the builder looks at them
    with _builder() as builder:
        try:
            extra = builder.parse_extra_options("", source, str(job.out), precision, provider, cache, given)
            _flatten_rope(extra["hf_details"]["hf_config"])
            _name_epsilon(extra["hf_details"]["hf_config"])
            builder.create_model("", source, str(job.out), precision, provider, cache, **extra)
        except ConvertError:
            raise
        except Exception as error:
            raise ConvertError(
                f"the model builder cannot convert this checkpoint: {_sentence(error, source)}"
            ) from error
    _report_padding(job)
    _plain_json(job)
    if job.options.layout == "foundry-local":
        _add_foundry_local(job)


def _report_padding(job: Job[BuildOptions]) -> None:
    """Name the matrices whose rows the builder padded."""
    for operator in read_graph(job.out / "model.onnx").operators:
        if operator.type == "MatMulNBits":
            name = re.sub(r"_Q\d+$", "", operator.inputs[1])
            report_padding(name, operator.integers["K"], operator.integers["block_size"])


def _add_foundry_local(job: Job[BuildOptions]) -> None:
    try:
        add_foundry_local(job.source, job.out, job.options.model_name)
    except Exception as error:
        raise ConvertError(
            "layout = foundry-local writes down the prompt of one user's turn, and the checkpoint's tokenizer and chat "
            f"template give none: {_sentence(error, str(job.source))}; mend the template or use layout = genai"
        ) from error


def _extra_options(options: BuildOptions) -> dict[str, Any]:
    """The builder's keyword options. No token and no code of the checkpoint's own, whatever the machine holds."""
    # A ring of cached positions for layers with a sliding window would need a runtime that knows rings.
    extra: dict[str, Any] = {"hf_token": "false", "hf_remote": "false", "windowed_kv_cache": "false"}
    if isinstance(options, BuildInt4Options):
        extra |= {"block_size": options.block_size, "is_symmetric": str(options.symmetric).lower()}
        if options.accuracy_level is not None:
            extra["accuracy_level"] = options.accuracy_level
    return extra


@contextlib.contextmanager
def _builder() -> Iterator[Any]:
    """The builder's module, with some of its habits switched off.

    It asks the git repository that it happens to be installed in for its commit, and writes that into the model as its
    own version. It lets transformers make up what a checkpoint lacks, and leave out what it does not know. It stops at
    SmolLM3's layers without a rotary embedding, or rotates them all the same. It looks a shared embedding with zero
    points up under names that nothing has. It leaves a linear rotary embedding of Llama and its kin unscaled. Its
    package also extends `sys.path`, for it imports its parts as top-level modules.
    """
    path = list(sys.path)
    from onnxruntime_genai.models import builder
    from onnxruntime_genai.models.builder import LlamaModel, Model, SmolLM3Model

    commit, load, attend = Model.get_genai_commit, Model.load_weights, SmolLM3Model.make_attention
    table, rotate = Model.make_tied_quantized_embedding_input_names, LlamaModel.make_rope_init
    base: Any = sys.modules[Model.__module__]
    models = base.AutoModelForCausalLM
    Model.get_genai_commit = staticmethod(lambda: None)
    Model.load_weights = lambda model, folder: _corrected(model, load(model, folder), builder)
    SmolLM3Model.make_attention = partialmethod(_with_rope_where_it_is, Model.make_attention)
    Model.make_tied_quantized_embedding_input_names = lambda model: _table_names(table(model))
    LlamaModel.make_rope_init = partialmethod(_with_scaled_rope, rotate, Model.make_rope_init)
    base.AutoModelForCausalLM = _WholeModels
    try:
        yield builder
    finally:
        Model.get_genai_commit, Model.load_weights, SmolLM3Model.make_attention = commit, load, attend
        Model.make_tied_quantized_embedding_input_names, LlamaModel.make_rope_init = table, rotate
        base.AutoModelForCausalLM = models
        sys.path[:] = path


def _corrected(model: Any, weights: Any, builder: Any) -> Any:
    """A checkpoint's weights, once the model computes what transformers computes in float32.

    The builder rounds the scale of Gemma's embedding to two digits, and takes OLMo's norms for RMS norms. It adds 1 to
    Gemma's norms in the checkpoint's bfloat16, which rounds them to a hundredth: so the weights become float32 there.
    """
    if isinstance(model, builder.GemmaModel):
        model.embed_attrs["scale"] = math.sqrt(model.hidden_size)
    if isinstance(model, builder.OLMoModel):
        model.layernorm_attrs["simple"] = False
    return weights.float() if model.layernorm_attrs["add_offset"] else weights


def _with_rope_where_it_is(model: Any, attend: Any, layer: int, attention: Any, root_input: str, **given: Any) -> None:
    """Build one attention of SmolLM3, rotated neither inside nor outside of the operator where the layer is not."""
    own = dict(model.attention_attrs)
    if not model.no_rope_layers[layer]:
        model.attention_attrs |= {"rope": False, "use_rope_in_attn": False}
    try:
        attend(model, layer, attention, root_input, **given)
    finally:
        model.attention_attrs |= {key: own[key] for key in ("rope", "use_rope_in_attn")}


class _WholeModels:
    """transformers' way to a model, which makes up weights that are not there or do not fit, and leaves others out."""

    @staticmethod
    def from_pretrained(folder: str, **options: Any) -> Any:
        """The model. ConvertError for a checkpoint that holds less or more than it."""
        from transformers import AutoModelForCausalLM

        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, found = AutoModelForCausalLM.from_pretrained(folder, **options)
        check_loaded(found)
        return model


def _with_scaled_rope(model: Any, own: Any, usual: Any, config: Any) -> None:
    """Read the rotary embedding of Llama and its kin, which have one kind of their own beside the usual ones."""
    (own if config.rope_parameters["rope_type"] == "llama3" else usual)(model, config)


def _table_names(names: tuple[int, str, str, str]) -> tuple[int, str, str, str]:
    """The bits of a shared matrix and the names of its codes, scales and zero points, as its quantizer writes them.

    Without a symmetric grid the builder names the matrix in floats, of which no scales and zero points are left.
    """
    bits, codes, *_ = names
    if codes != _SHARED:
        return names
    return bits, f"{codes}_Q{bits}", f"{codes}_scales", f"{codes}_zero_points"


def _flatten_rope(config: Any) -> None:
    """Give Gemma 3's two rotary embeddings, and the kind of Phi 3's, the names that the builder reads.

    transformers 5 nests them by layer type; the builder expects the global ones flat, and the local base apart.
    """
    nested = getattr(config, "rope_parameters", None)
    if isinstance(nested, dict) and nested.get("rope_type") == "longrope":
        nested.setdefault("type", "longrope")
    if not isinstance(nested, dict) or "full_attention" not in nested or config.model_type != "gemma3_text":
        return
    config.rope_parameters = dict(nested["full_attention"])
    config.rope_theta = nested["full_attention"]["rope_theta"]
    config.rope_local_base_freq = nested["sliding_attention"]["rope_theta"]


def _name_epsilon(config: Any) -> None:
    """Give the epsilon of other norms than RMS the name that the builder reads; it takes 1e-6 for a missing one."""
    if not hasattr(config, "rms_norm_eps"):
        names = ("layer_norm_eps", "norm_eps", "layer_norm_epsilon")
        config.rms_norm_eps = next((getattr(config, name) for name in names if hasattr(config, name)), _EPSILON)


def _plain_json(job: Job[BuildOptions]) -> None:
    """Write the JSON files once more, their keys in order, so that no order of a dictionary shows in them."""
    for path in sorted(job.out.glob("*.json")):
        if path.name == "tokenizer.json":
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _sentence(error: Exception, source: str) -> str:
    """What the builder says, without the path that it was told, on one line."""
    text = f"{type(error).__name__}: {error}".replace(f"{source}/", "").replace(source, "the checkpoint")
    return re.sub(r"\s+", " ", text).strip()[:400]
