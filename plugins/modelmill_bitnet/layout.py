"""What a BitNet checkpoint becomes in GGUF, for llama.cpp and for bitnet.cpp, decided from its facts alone.

Source: llama.cpp's src/models/bitnet.cpp and conversion/bitnet.py. The scale of a layer is a tensor of its own,
`blk.N.NAME.scale`, which llama.cpp multiplies the layer's output with: so every block's scale is 1, and neither
values nor scale are rounded. For bitnet.cpp (microsoft/BitNet) the scale stands in the I2_S tensor itself, and the
architecture's name tells which activation it computes; its number for general.file_type is left out, because
llama.cpp has another type under that number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from modelmill import ConvertError, Facts, Tensor
from modelmill_bitnet.checkpoint import Form, form_of
from modelmill_gguf import api

SCHEMES = ("TQ1_0", "TQ2_0")
_BLOCK = 256
I2_S = "I2_S"
I2_S_BLOCKS: Mapping[str, int] = {"x86-act-parallel": 128, "arm-neon": 64}
"""The layout variants of I2_S and the values that a block of each interleaves, a quarter of that in bytes."""
VARIANT_KEY = "modelmill.i2_s.layout"
"""The metadata that says in which layout a file's I2_S tensors are; bitnet.cpp itself writes none."""
_DEFAULTS = {"hidden_act": "relu2", "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "max_position_embeddings": 2048}
"""What transformers' BitNetConfig assumes where config.json is silent."""
_LINEAR = {
    "self_attn.q_proj": ("attn_q", "query", "width"),
    "self_attn.k_proj": ("attn_k", "key", "width"),
    "self_attn.v_proj": ("attn_v", "key", "width"),
    "self_attn.o_proj": ("attn_output", "width", "query"),
    "mlp.gate_proj": ("ffn_gate", "inner", "width"),
    "mlp.up_proj": ("ffn_up", "inner", "width"),
    "mlp.down_proj": ("ffn_down", "width", "inner"),
}
_NORMS = {
    ("input_layernorm",): ("attn_norm", "width"),
    ("post_attention_layernorm",): ("ffn_norm", "width"),
    ("self_attn.attn_sub_norm", "self_attn.inner_attn_ln"): ("attn_sub_norm", "query"),
    ("mlp.ffn_sub_norm", "mlp.ffn_layernorm"): ("ffn_sub_norm", "inner"),
}
"""transformers' name, where it differs 1bitLLM's, and llama.cpp's."""
_BUFFERS = (".rotary_emb.inv_freq",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Who is to load the file: the architecture's name for each activation, and how ternary tensors are stored.

    `block` divides a row, or `fallback` holds the tensor; None where the runtime has no other type for it.
    """

    name: str
    architectures: Mapping[str, str]
    kind: str
    block: int
    fallback: str | None
    embedding: str | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One source tensor and what it becomes; `scale` where its ternary values have theirs in a tensor of its own.

    The rows of `heads` heads go from halves to pairs, as llama.cpp's rope wants them in some architectures.
    `constant` are the values of a tensor that comes from the configuration alone.
    """

    source: Tensor
    tensor: Tensor
    ternary: bool = False
    scale: Tensor | None = None
    stored_scale: str | None = None
    heads: int | None = None
    constant: tuple[float, ...] = ()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of the file."""
        return (self.tensor,) if self.scale is None else (self.tensor, self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The file to come; `fields` are all but the tokenizer's."""

    runtime: Runtime
    architecture: str
    form: Form
    planned: tuple[Planned, ...]
    fields: tuple[api.Field, ...]
    vocabulary: api.Vocabulary

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors in the order of the file."""
        return tuple(tensor for planned in self.planned for tensor in planned.tensors)

    @property
    def metadata_bytes(self) -> int:
        """The bytes of all metadata."""
        return api.metadata_size(self.fields) + self.vocabulary.size

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The ternary tensors whose width no block divides, held as F16."""
        return tuple(
            planned.tensor.name for planned in self.planned if planned.ternary and planned.tensor.dtype == "F16"
        )


def llama_cpp(scheme: str) -> Runtime:
    """Mainline llama.cpp, which computes BitNet with SiLU whatever the file says."""
    return Runtime(name="llama.cpp", architectures={"silu": "bitnet"}, kind=scheme, block=_BLOCK, fallback="F16")


def bitnet_cpp(variant: str) -> Runtime:
    """bitnet.cpp with I2_S in one of its layouts; no other type of its is known to hold ternary values."""
    return Runtime(
        name="bitnet.cpp",
        architectures={"silu": "bitnet", "relu2": "bitnet-b1.58"},
        kind=I2_S,
        block=I2_S_BLOCKS[variant],
        fallback=None,
        embedding="F16",
        variant=variant,
    )


def plan(facts: Facts, runtime: Runtime) -> Layout:
    """Lay the file out. ConvertError for a checkpoint that the runtime would compute wrongly, or that does not fit."""
    form = form_of(facts)
    model = api.read_hyperparameters(facts.config, _DEFAULTS, tied=True)
    architecture = _architecture(model, runtime)
    there = {tensor.name: tensor for tensor in facts.tensors if not tensor.name.endswith(_BUFFERS)}
    planned = _planned(there, model, form, runtime)
    if strangers := sorted(there.keys() - {"lm_head.weight"}):
        raise ConvertError(f"tensor {strangers[0]!r} has no place in a BitNet model of {runtime.name}")
    return Layout(
        runtime=runtime,
        architecture=architecture,
        form=form,
        planned=planned,
        fields=_fields(facts, model, planned, architecture, runtime),
        vocabulary=api.predict_vocabulary(facts.details.get("tokenizer"), facts.config, model.vocabulary),
    )


def _architecture(model: api.Hyperparameters, runtime: Runtime) -> str:
    activation = model.config.get("hidden_act")
    if activation not in ("silu", "relu2"):
        raise ConvertError(f"config.json: hidden_act is {activation!r}; BitNet models have 'silu' or 'relu2'")
    if activation not in runtime.architectures:
        raise ConvertError(
            f"config.json: hidden_act is {activation!r}, and llama.cpp computes BitNet with SiLU whatever the file "
            'says, so its answers would be wrong; bitnet.cpp (format = "bitnet", scheme = "I2_S") runs this model'
        )
    if not model.tied:
        raise ConvertError(
            f"config.json: tie_word_embeddings is false, and {runtime.name}'s BitNet has no output matrix"
        )
    if model.heads * model.head != model.width:
        raise ConvertError(
            f"config.json: {model.heads} heads of {model.head} are not the hidden size {model.width}, "
            f"which {runtime.name}'s BitNet takes them for"
        )
    name = runtime.architectures[activation]
    if reason := api.refuse_rope(name, model, "linear"):
        raise ConvertError(reason)
    return name


def _planned(there: dict[str, Tensor], model: api.Hyperparameters, form: Form, runtime: Runtime) -> tuple[Planned, ...]:
    embedding = ("model.embed_tokens.weight",)
    found = [_plain(there, embedding, "token_embd.weight", (model.vocabulary, model.width), runtime.embedding)]
    for layer in range(model.layers):
        place, name = f"model.layers.{layer}.", f"blk.{layer}."
        for sources, (norm, size) in _NORMS.items():
            names = tuple(f"{place}{source}.weight" for source in sources)
            found.append(_plain(there, names, f"{name}{norm}.weight", (model.dimension(size),)))
        for source, (linear, rows, width) in _LINEAR.items():
            shape = (model.dimension(rows), model.dimension(width))
            found.append(_ternary(there, f"{place}{source}.weight", f"{name}{linear}", shape, form, runtime))
    found.append(_plain(there, ("model.norm.weight",), "output_norm.weight", (model.width,)))
    return tuple(found)


def _plain(
    there: dict[str, Tensor], sources: tuple[str, ...], name: str, shape: tuple[int, ...], dtype: str | None = None
) -> Planned:
    source = next((there.pop(each) for each in sources if each in there), None)
    if source is None:
        raise ConvertError(f"the checkpoint lacks the tensor {sources[0]!r}")
    _check(source, shape, shape, ("BF16", "F16", "F32"))
    kind = "F32" if len(shape) == 1 else dtype or source.dtype
    return Planned(source=source, tensor=Tensor(name=name, dtype=kind, shape=shape))


def _ternary(
    there: dict[str, Tensor], source_name: str, name: str, shape: tuple[int, ...], form: Form, runtime: Runtime
) -> Planned:
    source = there.pop(source_name, None)
    if source is None:
        raise ConvertError(f"the checkpoint lacks the tensor {source_name!r}")
    stored_scale = None
    if form.packed:
        if shape[0] % 4:
            raise ConvertError(f"tensor {source_name!r}: {shape[0]} rows do not pack four to a byte")
        _check(source, (shape[0] // 4, shape[1]), shape, ("U8",))
        stored_scale = f"{source_name}_scale"
        scale = there.pop(stored_scale, None)
        if scale is None:
            raise ConvertError(f"the checkpoint lacks the tensor {stored_scale!r}, the scale of the packed weights")
        _check(scale, (1,), (1,), ("BF16", "F16", "F32"))
    else:
        _check(source, shape, shape, ("BF16", "F16", "F32"))
    kind = runtime.kind if shape[-1] % runtime.block == 0 else runtime.fallback
    if kind is None:
        raise ConvertError(
            f"tensor {source_name!r} has rows of {shape[-1]}, which do not divide into blocks of {runtime.block}: "
            f"{runtime.kind} ({runtime.variant}) cannot hold it; llama.cpp's TQ2_0 keeps such layers as F16"
        )
    return Planned(
        source=source,
        tensor=Tensor(name=f"{name}.weight", dtype=kind, shape=shape),
        ternary=True,
        scale=None if runtime.kind == I2_S else Tensor(name=f"{name}.scale", dtype="F32", shape=(1,)),
        stored_scale=stored_scale,
    )


def _check(tensor: Tensor, stored: tuple[int, ...], shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
    if tensor.shape != stored:
        packed = "" if stored == shape else f", {list(stored)} when packed"
        raise ConvertError(
            f"tensor {tensor.name!r} has the shape {list(tensor.shape)}, but config.json makes it {list(shape)}{packed}"
        )
    if tensor.dtype not in dtypes:
        raise ConvertError(f"tensor {tensor.name!r} is {tensor.dtype}, not {' or '.join(dtypes)}")


def _fields(
    facts: Facts, model: api.Hyperparameters, planned: tuple[Planned, ...], name: str, runtime: Runtime
) -> tuple[api.Field, ...]:
    card: Mapping[str, object] = facts.details.get("card", {})
    parameters = sum(prod(each.tensor.shape) for each in planned)
    return (
        api.string("general.architecture", name),
        api.string("general.type", "model"),
        *api.lineage_fields(_portable(facts.config), card, facts.details.get("generation", {}), parameters),
        *api.size_fields(name, model),
        *api.rope_fields(name, model),
        api.uint32(f"{name}.vocab_size", model.vocabulary),
        api.uint32(f"{name}.rope.dimension_count", model.head),
        *file_type_fields(runtime.kind),
        *([api.string(VARIANT_KEY, runtime.variant)] if runtime.variant else []),
        api.uint32("general.quantization_version", api.QUANTIZATION_VERSION),
    )


def file_type_fields(kind: str) -> tuple[api.Field, ...]:
    """What the file says of its own type; nothing where llama.cpp has no number for it."""
    return (api.uint32("general.file_type", api.FILE_TYPES[kind]),) if kind in api.FILE_TYPES else ()


def _portable(config: Mapping[str, object]) -> dict[str, object]:
    """The configuration without what tells the forms of one ternary model apart."""
    return {key: value for key, value in config.items() if key != "quantization_config"}
