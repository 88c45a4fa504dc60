"""The format `peft-adapter`: what a LoRA adapter as peft saves it changes in a model, read from its headers.

Format: `adapter_config.json` and `adapter_model.safetensors` of peft (`peft/utils/save_and_load.py`,
`peft/tuners/lora/config.py`). Tensors are named after the model's modules: `base_model.model.MODULE.lora_A.weight`
of shape [r, in] and `….lora_B.weight` of [out, r]; of an embedding `….lora_embedding_A` of [r, rows] and
`….lora_embedding_B` of [width, r]; and whole tensors of modules that were trained as they are.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Facts, Format, Tensor
from modelmill.checkpoint import file_sizes, is_pickle, read_header, read_licence, read_object

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
FILES = (CONFIG, WEIGHTS)
_PICKLE = "adapter_model.bin"
_PREFIX = "base_model.model."
_PARTS = {
    ".lora_A.weight": ("A", False),
    ".lora_B.weight": ("B", False),
    ".lora_embedding_A": ("A", True),
    ".lora_embedding_B": ("B", True),
}
_REFUSED = {
    "use_dora": "is a DoRA adapter, whose magnitudes are not low-rank",
    "use_qalora": "is a QALoRA adapter, whose groups are not low-rank",
    "lora_bias": "has biases of its own",
    "fan_in_fan_out": "is for layers that keep their weights transposed, as GPT-2's Conv1D",
    "layer_replication": "repeats the model's layers",
    "alora_invocation_tokens": "is an activated LoRA, which works from certain tokens on",
    "trainable_token_indices": "trains single tokens",
    "target_parameters": "changes parameters that are no layers",
    "use_bdlora": "has block-diagonal matrices",
    "arrow_config": "chooses among adapters for each token",
    "kasa_config": "scales singular values",
    "monteclora_config": "draws its weights at random",
}
"""Settings of adapter_config.json that mean more than W + s·BA, and what each means."""
_STARTS = (True, False, "gaussian", "eva", "orthogonal")
"""Ways to begin training (`init_lora_weights`) that leave the base's weights as they are."""
_LARGEST_ALPHA = 1e9
_NAME = re.compile(r"[\w.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an adapter does to one tensor of the model: adds scale · up @ down to it, or takes its place.

    `up` and `down` are names of the adapter's tensors. `transposed` says that the tensor is an embedding, to which
    (B A)ᵀ is added. `whole` is the name of the tensor that takes its place, which is then added to, where both are.
    """

    target: str
    up: str = ""
    down: str = ""
    rank: int = 0
    scale: float = 0.0
    shape: tuple[int, ...] = ()
    transposed: bool = False
    whole: str = ""


def detect(folder: Path) -> bool:
    """Whether a folder looks like an adapter of peft's."""
    return (folder / CONFIG).is_file()


def facts(folder: Path) -> Facts:
    """Its settings and tensors. ConvertError for a folder that is not sound."""
    config = read_object(folder / CONFIG)
    if not (folder / WEIGHTS).is_file() and (folder / _PICKLE).is_file() and is_pickle(folder / _PICKLE):
        raise ConvertError(
            f"{_PICKLE}: is a Python pickle, which can run any code when it is loaded; save the adapter with peft's "
            f"save_pretrained, which writes {WEIGHTS}"
        )
    tensors = tuple(entry.tensor for entry in read_header(folder / WEIGHTS).values())
    return Facts(
        format="peft-adapter",
        config=config,
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.name)),
        files=file_sizes(folder),
        licence=read_licence(folder),
    )


def validate(folder: Path) -> None:
    """ConvertError for an adapter that cannot be merged into any model."""
    changes(facts(folder))


def changes(found: Facts) -> tuple[Change, ...]:
    """What an adapter changes, by the tensor that it changes. ConvertError for what is no plain LoRA."""
    config = found.config
    _check_kind(config)
    pairs: dict[tuple[str, bool], dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for tensor in found.tensors:
        target, part, is_embedding = _parse(tensor)
        if part:
            pairs.setdefault((target, is_embedding), {})[part] = tensor
        elif target in whole:
            raise ConvertError(f"{WEIGHTS}: {tensor.name!r} and {whole[target].name!r} are for the same tensor")
        else:
            whole[target] = tensor
    if not pairs and not whole:
        raise ConvertError(f"{WEIGHTS}: holds no tensors, so there is nothing to merge")
    found_changes = [
        _low_rank(config, target, parts, whole.pop(target, None), transposed=is_embedding)
        for (target, is_embedding), parts in pairs.items()
    ]
    found_changes += [Change(target=target, whole=tensor.name, shape=tensor.shape) for target, tensor in whole.items()]
    found_changes.sort(key=lambda change: change.target)
    for one, other in pairwise(found_changes):
        if one.target == other.target:
            raise ConvertError(f"{WEIGHTS}: two pairs are for the same tensor {one.target!r}")
    return tuple(found_changes)


def _check_kind(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ConvertError(f"{CONFIG}: the adapter is {kind!r:.40}; only LORA can be merged here, others with peft")
    for name, meaning in _REFUSED.items():
        if config.get(name):
            raise ConvertError(f"{CONFIG}: the adapter {meaning} ({name}); merge it with peft first")
    if config.get("bias", "none") != "none":
        raise ConvertError(
            f"{CONFIG}: the adapter trains biases (bias = {config['bias']!r:.80}); merge it with peft first"
        )
    start = config.get("init_lora_weights", True)
    if start not in _STARTS:
        raise ConvertError(
            f"{CONFIG}: the adapter began with init_lora_weights = {start!r:.40}, which changes the base's weights; "
            "convert it to a plain LoRA with peft's path_initial_model_for_weight_conversion, or merge it with peft"
        )


def _parse(tensor: Tensor) -> tuple[str, str, bool]:
    """The tensor of the model that an adapter's is for, which half of a pair it is, and whether of an embedding."""
    if not tensor.name.startswith(_PREFIX):
        raise ConvertError(f"{WEIGHTS}: the tensor {tensor.name!r} does not begin with {_PREFIX!r}, as peft's do")
    name = tensor.name.removeprefix(_PREFIX)
    if tensor.dtype not in ("F32", "F16", "BF16"):
        raise ConvertError(f"{WEIGHTS}: the tensor {tensor.name!r} is {tensor.dtype}, not F32, F16 or BF16")
    for suffix, (part, is_embedding) in _PARTS.items():
        if name.endswith(suffix):
            if len(tensor.shape) != 2:  # noqa: PLR2004 - a matrix
                raise ConvertError(
                    f"{WEIGHTS}: the tensor {tensor.name!r} has the shape {list(tensor.shape)}: no matrix"
                )
            return f"{name.removesuffix(suffix)}.weight", part, is_embedding
    if ".lora_" in name:
        raise ConvertError(f"{WEIGHTS}: the tensor {tensor.name!r} is not of a plain LoRA; merge it with peft first")
    return name.replace(".base_layer.", "."), "", False  # of an adapted embedding peft saves the layer below too


def _low_rank(
    config: Mapping[str, Any], target: str, parts: Mapping[str, Tensor], below: Tensor | None, *, transposed: bool
) -> Change:
    module = target.removesuffix(".weight")
    if parts.keys() != {"A", "B"}:
        raise ConvertError(f"{WEIGHTS}: of the pair for {module!r} only the tensor {next(iter(parts))} is there")
    down, up = parts["A"], parts["B"]
    rank = down.shape[0]
    if up.shape[1] != rank or rank == 0:
        raise ConvertError(f"{WEIGHTS}: the pair for {module!r} has the ranks {rank} and {up.shape[1]}")
    stated = _setting(config, "rank_pattern", module, "r")
    if stated != rank:
        raise ConvertError(f"{WEIGHTS}: the pair for {module!r} has the rank {rank}, {CONFIG} says {stated!r:.80}")
    alpha = _setting(config, "alpha_pattern", module, "lora_alpha")
    if type(alpha) not in (int, float) or not abs(alpha) <= _LARGEST_ALPHA:
        raise ConvertError(f"{CONFIG}: lora_alpha of {module!r} is {alpha!r:.40}, not a number of sensible size")
    shape = (down.shape[1], up.shape[0]) if transposed else (up.shape[0], down.shape[1])
    if below is not None and below.shape != shape:
        raise ConvertError(f"{WEIGHTS}: {below.name!r} has the shape {list(below.shape)}, its pair makes {list(shape)}")
    return Change(
        target=target,
        up=up.name,
        down=down.name,
        rank=rank,
        scale=alpha / (math.sqrt(rank) if config.get("use_rslora") else rank),
        shape=shape,
        transposed=transposed,
        whole=below.name if below is not None else "",
    )


def _setting(config: Mapping[str, Any], patterns: str, module: str, general: str) -> Any:
    """A setting of one module: that of the first pattern that its name ends in, else the general one.

    peft/utils/other.py, `get_pattern_key`, matches regular expressions. One of a stranger may take for ever, so
    only names are known here, whole (`^`) or ends of them (`.*` in front), which is what such patterns are.
    """
    table = config.get(patterns) or {}
    if not isinstance(table, dict):
        raise ConvertError(f"{CONFIG}: {patterns} is not an object")
    for pattern, value in table.items():
        plain = pattern.removesuffix("$").replace("\\.", ".")
        end = plain.removeprefix("^").removeprefix(".*")
        if not _NAME.fullmatch(end):
            raise ConvertError(f"{CONFIG}: the pattern {pattern!r:.80} of {patterns} is more than the end of a name")
        is_end = plain.startswith((".*", "^.*")) and module.endswith(end)
        if module == end or is_end or (not plain.startswith("^") and module.endswith(f".{end}")):
            return value
    return config.get(general)


FORMAT = Format(name="peft-adapter", schemes=(), detect=detect, facts=facts, validate=validate)
