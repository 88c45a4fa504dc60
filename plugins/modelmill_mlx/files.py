"""The files of an MLX model folder, as mlx-lm lays them out: which tensors in which, and the texts beside them.

Source: `make_shards`, `save_model` and `save_config` in mlx_lm/utils.py.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from modelmill import Tensor
from modelmill.checkpoint import safetensors_size, tensor_bytes
from modelmill_mlx.architectures import architecture_of
from modelmill_mlx.layout import Layout
from modelmill_mlx.rope import older_rope

SHARD_BYTES = 5 << 30
"""mlx-lm's limit for the tensors of one file (`MAX_FILE_SIZE_GB`)."""
INDEX = "model.safetensors.index.json"
METADATA: Mapping[str, str] = {"format": "mlx"}
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
COPIED = (*TOKENIZER, "generation_config.json")
"""Files that travel along unchanged; mlx-lm writes the tokenizer's anew through transformers, to the same effect."""
_DROPPED = ("_name_or_path", "vision_config")


def copied(files: Mapping[str, int]) -> tuple[str, ...]:
    """The files of a checkpoint that travel along, in order."""
    return tuple(sorted(path for path in files if path in COPIED))


def shards(layout: Layout) -> tuple[tuple[str, tuple[Tensor, ...]], ...]:
    """The weight files and the tensors of each; a weight's scales may lie in the next one."""
    groups: list[list[Tensor]] = []
    size = 0
    for tensor in (tensor for weight in layout.weights for tensor in weight.stored):
        more = tensor_bytes(tensor)
        if not groups or size + more > SHARD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += more
    if len(groups) == 1:
        return (("model.safetensors", tuple(groups[0])),)
    return tuple(
        (f"model-{number:05d}-of-{len(groups):05d}.safetensors", tuple(group)) for number, group in enumerate(groups, 1)
    )


def index_text(layout: Layout) -> str:
    """The content of model.safetensors.index.json."""
    places = {tensor.name: file for file, tensors in shards(layout) for tensor in tensors}
    size = sum(tensor_bytes(tensor) for weight in layout.weights for tensor in weight.stored)
    parameters = sum(math.prod(weight.tensor.shape) for weight in layout.weights)
    metadata = {"total_size": size, "total_parameters": parameters}
    return json.dumps({"metadata": metadata, "weight_map": dict(sorted(places.items()))}, indent=4)


def config_text(config: Mapping[str, Any], generation: Mapping[str, Any], layout: Layout) -> str:
    """The content of config.json: the checkpoint's own, generation_config.json's end tokens, and the types."""
    new = {
        **older_rope(architecture_of(config), config),
        **{key: value for key, value in config.items() if key not in _DROPPED},
    }
    if generation.get("eos_token_id", False):
        new["eos_token_id"] = generation["eos_token_id"]
    entry = quantization_entry(layout)
    if entry is not None:
        new["quantization"] = new["quantization_config"] = entry
    return json.dumps(dict(sorted(new.items())), indent=4)


def quantization_entry(layout: Layout) -> dict[str, Any] | None:
    """What config.json says under `quantization`; None where nothing is quantized."""
    if layout.default is None:
        return None
    default = layout.default
    entry: dict[str, Any] = {"group_size": default.group_size, "bits": default.bits, "mode": default.mode}
    entry.update({weight.path: dict(weight.entry) for weight in layout.weights if weight.entry is not None})
    return entry


def sizes(layout: Layout, config: Mapping[str, Any], files: Mapping[str, int]) -> dict[str, int]:
    """Every file of the result with its size: exact, but for config.json where generation_config.json changes it."""
    found = {name: files[name] for name in copied(files)}
    found.update({name: safetensors_size(tensors, METADATA) for name, tensors in shards(layout)})
    found[INDEX] = len(index_text(layout))
    found["config.json"] = len(config_text(config, {}, layout))
    return dict(sorted(found.items()))
