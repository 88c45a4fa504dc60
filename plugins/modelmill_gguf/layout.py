"""What a checkpoint becomes in GGUF, decided from its facts alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from modelmill import ConvertError, Facts, Lineage, Tensor
from modelmill.checkpoint import DERIVED_BUFFERS
from modelmill_gguf import architectures, stripping
from modelmill_gguf.architectures.table import Architecture, Change, Extra, Rule
from modelmill_gguf.fields import Field, string, uint32
from modelmill_gguf.file_types import NUMBERS
from modelmill_gguf.hyperparameters import Hyperparameters
from modelmill_gguf.hyperparameters import read as read_hyperparameters
from modelmill_gguf.lineage import lineage_fields
from modelmill_gguf.vocabulary import Vocabulary, predict
from modelmill_gguf.writer import file_size, metadata_size

DTYPES = ("BF16", "F16", "F32")
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION: the layout of quantized blocks since May 2023
_LAYER = re.compile(r"^(model\.layers\.)(\d+)(\..+)$")
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One tensor to come: from a tensor of the checkpoint, changed, or from numbers of the configuration."""

    tensor: Tensor
    source: Tensor | None = None
    change: Change = Change.NONE
    heads: int = 1
    extra: Extra | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The file to come. `fields` are all but the tokenizer's, which `vocabulary` describes."""

    architecture: Architecture
    model: Hyperparameters
    scheme: str
    planned: tuple[Planned, ...]
    fields: tuple[Field, ...]
    vocabulary: Vocabulary

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors in the order of the file."""
        return tuple(planned.tensor for planned in self.planned)

    @property
    def metadata_bytes(self) -> int:
        """The bytes of all metadata fields."""
        return metadata_size(self.fields) + self.vocabulary.size

    @property
    def file_size(self) -> int:
        """The bytes of the file."""
        return file_size(self.metadata_bytes, self.tensors)


def lossless_scheme(facts: Facts) -> str:
    """The scheme that keeps every bit of a checkpoint's matrices."""
    found = {tensor.dtype for tensor in facts.tensors if len(tensor.shape) > 1}
    return found.pop() if len(found) == 1 and found <= set(DTYPES) else "F32"


def plan(facts: Facts, scheme: str | None, name: str | None = None, lineage: Lineage | None = None) -> Layout:
    """Lay out the GGUF file of a checkpoint; `scheme` is F32, F16 or BF16, None for the one that loses nothing.

    `name` and `lineage` go into the metadata. Raises ConvertError where the checkpoint is none that can be converted:
    an unknown architecture, missing, extra or misshapen tensors, a tokenizer without counterpart.
    """
    chosen = scheme or lossless_scheme(facts)
    architecture = architectures.find(facts.architecture)
    if facts.quantization is not None and "quantization_config" in facts.config:
        raise ConvertError(
            f"The checkpoint is quantized ({facts.quantization}), and only BF16, F16 and F32 weights can become GGUF."
        )
    model = read_hyperparameters(facts.config, architecture.defaults, tied=architecture.tied_by_default)
    if model.layers > len(facts.tensors):
        # Before anything is counted up by layer: the number is data from anywhere.
        raise ConvertError(
            f"config.json says num_hidden_layers = {model.layers}, and the checkpoint has {len(facts.tensors)} tensors."
        )
    if reason := architecture.refuse(model):
        raise ConvertError(f"The checkpoint cannot become GGUF: {reason}.")
    planned = (*_extras(architecture, model), *_weights(facts, architecture, model, chosen))
    vocabulary = predict(
        facts.details.get("tokenizer"),
        facts.config,
        model.vocabulary,
        drops=architecture.drops,
        says_space_prefix=architecture.says_space_prefix,
        stated_tokens=architecture.stated_tokens,
    )
    fields = _fields(facts, architecture, model, chosen, planned, name, lineage)
    fields, notes = stripping.named(
        fields, facts.details["tokenizer"], model.vocabulary, architecture=architecture.name
    )
    return Layout(
        architecture=architecture,
        model=model,
        scheme=chosen,
        planned=planned,
        fields=fields,
        vocabulary=replace(vocabulary, notes=(*vocabulary.notes, *notes)),
    )


def _fields(
    facts: Facts,
    architecture: Architecture,
    model: Hyperparameters,
    scheme: str,
    planned: tuple[Planned, ...],
    name: str | None,
    lineage: Lineage | None,
) -> tuple[Field, ...]:
    parameters = sum(prod(each.tensor.shape) for each in planned)
    card: Mapping[str, object] = {**facts.details.get("card", {})}
    if name is not None:
        card = {**card, "model_name": name}
    return (
        string("general.architecture", architecture.name),
        string("general.type", "model"),
        *lineage_fields(facts.config, card, facts.details.get("generation", {}), parameters, lineage),
        *architecture.fields(model),
        uint32("general.file_type", NUMBERS[scheme]),
        uint32("general.quantization_version", QUANTIZATION_VERSION),
    )


def _extras(architecture: Architecture, model: Hyperparameters) -> tuple[Planned, ...]:
    return tuple(
        Planned(tensor=Tensor(name=extra.name, dtype="F32", shape=(len(extra.values),), weight=False), extra=extra)
        for extra in architecture.extras(model)
    )


def _weights(facts: Facts, architecture: Architecture, model: Hyperparameters, scheme: str) -> list[Planned]:
    rules = {rule.source: rule for rule in architecture.rules}
    missing = _required(architecture, model)
    planned: list[Planned] = []
    extra: list[str] = []
    # By name, so that the same model in one file or in shards gives the same bytes.
    for tensor in sorted(facts.tensors, key=lambda tensor: tensor.name):
        if tensor.name.endswith(DERIVED_BUFFERS):
            continue
        rule, layer = _match(tensor.name, rules)
        if rule is None or (layer is not None and layer >= model.layers):
            extra.append(tensor.name)
            continue
        missing.pop(tensor.name, None)
        planned.append(_planned(tensor, rule, layer, model, scheme))
    _refuse_names(missing=list(missing), extra=extra, name=architecture.name)
    return planned


def _match(name: str, rules: Mapping[str, Rule]) -> tuple[Rule | None, int | None]:
    found = _LAYER.match(name)
    if found is None:
        return rules.get(name), None
    return rules.get(f"{found[1]}{{}}{found[3]}"), int(found[2])


def _required(architecture: Architecture, model: Hyperparameters) -> dict[str, None]:
    names: dict[str, None] = {}
    for rule in architecture.rules:
        if rule.optional:
            continue
        layered = "{}" in rule.source
        for layer in range(model.layers) if layered else range(1):
            names[rule.source.format(layer)] = None
    if not model.tied:
        names["lm_head.weight"] = None
    return names


def _refuse_names(*, missing: list[str], extra: list[str], name: str) -> None:
    for problem, names in (("lacks", missing), ("has, beyond what the architecture knows,", extra)):
        if names:
            shown = ", ".join(repr(each) for each in names[:_SHOWN])
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise ConvertError(f"The checkpoint {problem} the tensors {shown}{more} (architecture {name}).")


def _planned(tensor: Tensor, rule: Rule, layer: int | None, model: Hyperparameters, scheme: str) -> Planned:
    expected = tuple(model.dimension(name) for name in rule.shape)
    if tensor.shape != expected:
        raise ConvertError(
            f"Tensor {tensor.name!r} has the shape {list(tensor.shape)}, but config.json makes it {list(expected)}."
        )
    if tensor.dtype not in DTYPES:
        raise ConvertError(f"Tensor {tensor.name!r} is {tensor.dtype}; only BF16, F16 and F32 can become GGUF.")
    # Norms and biases stay in single precision: ggml's kernels for them know nothing else.
    kind = "F32" if len(expected) == 1 else scheme
    heads = {Change.PERMUTE_QUERY: model.heads, Change.PERMUTE_KEY: model.key_heads}.get(rule.change, 1)
    name = rule.name.format(layer)
    return Planned(tensor=Tensor(name=name, dtype=kind, shape=expected), source=tensor, change=rule.change, heads=heads)
