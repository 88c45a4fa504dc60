"""The format: a checkpoint whose config.json says how compressed-tensors stores its linear layers in four bits."""

import struct
import sys
from array import array
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelmill import ConvertError, Facts, Tensor
from modelmill import checkpoint as checkpoints
from modelmill.checkpoint import Checkpoint, open_checkpoint, read_object

from modelmill_compressed_tensors.plan import GROUP_SIZES, MATRIX, NAME, is_linear, stored

_INFINITY = {"BF16": 0x7F80, "F16": 0x7C00, "F32": 0x7F800000}
"""The bit pattern of infinity: those from there on are no positive numbers."""
_FIXED = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group"}


def detect(folder: Path) -> bool:
    """Whether a folder's config.json says that it is one."""
    try:
        config = read_object(folder / "config.json")
    except ConvertError:
        return False
    table = config.get("quantization_config")
    return isinstance(table, dict) and table.get("quant_method") == NAME


def facts(folder: Path) -> Facts:
    """What is known of it from headers. Raises ConvertError where configuration and tensors do not fit together."""
    found = checkpoints.facts(folder)
    tensors = {tensor.name: tensor for tensor in found.tensors}
    size = group_size(found.config)
    layers = {name.rpartition(".")[0] for name in tensors if name.endswith(("_packed", "_scale", "_shape"))}
    for layer in sorted(layers):
        _check(layer, tensors, size)
    plain = next((tensor.name for tensor in found.tensors if is_linear(tensor)), None)
    if plain or not layers:
        raise ConvertError(f"{plain or 'no layer'}: is not quantized, and config.json says that linear layers are")
    return replace(found, format=NAME, scheme="W4A16", quantization="W4A16")


def validate(folder: Path) -> None:
    """Raise ConvertError for a folder that vLLM would not load, or with weights that are not numbers."""
    found = facts(folder)
    if found.details["tokenizer"] is None:
        raise ConvertError("tokenizer.json: is missing, and vLLM starts no server without a tokenizer")
    with open_checkpoint(folder) as checkpoint:
        for tensor in found.tensors:
            if tensor.name.endswith(".weight_shape"):
                _check_values(tensor.name.rpartition(".")[0], checkpoint, group_size(found.config))


def group_size(config: Mapping[str, Any]) -> int:
    """How many weights share a scale. Raises ConvertError where it is not W4A16 that config.json describes."""
    table = config.get("quantization_config")
    try:
        (group,) = table["config_groups"].values()  # type: ignore[index]
        weights = group["weights"]
        known = table["format"] == "pack-quantized" and _FIXED.items() <= weights.items()  # type: ignore[index]
        known = known and group["targets"] == ["Linear"] and group.get("input_activations") is None
        size = weights["group_size"]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConvertError("config.json: quantization_config is not as compressed-tensors writes it") from None
    if not known or type(size) is not int or size not in GROUP_SIZES:
        raise ConvertError(f"config.json: its weights are not W4A16 in groups of {GROUP_SIZES}")
    return size


def _check(layer: str, tensors: Mapping[str, Tensor], size: int) -> None:
    packed, scale = tensors.get(f"{layer}.weight_packed"), tensors.get(f"{layer}.weight_scale")
    if packed is None or scale is None or scale.dtype not in _INFINITY or len(packed.shape) != MATRIX:
        raise ConvertError(f"{layer}: does not have its weight_packed and weight_scale")
    whole = Tensor(name=f"{layer}.weight", dtype=scale.dtype, shape=(packed.shape[0], packed.shape[1] * 8))
    for wanted in stored(whole, size):
        if tensors.get(wanted.name) != wanted:
            raise ConvertError(f"{wanted.name}: should be {wanted.dtype} of shape {list(wanted.shape)}")


def _check_values(layer: str, checkpoint: Checkpoint, size: int) -> None:
    scale = next(tensor for tensor in checkpoint.tensors if tensor.name == f"{layer}.weight_scale")
    shape = struct.unpack("<2q", checkpoint.raw(f"{layer}.weight_shape"))
    if shape != (scale.shape[0], scale.shape[1] * size):
        raise ConvertError(f"{layer}.weight_shape: says {shape}, where the scales are for {list(scale.shape)} groups")
    bits = _bits(checkpoint.raw(scale.name), scale.dtype)
    if min(bits) == 0 or max(bits) >= _INFINITY[scale.dtype]:
        raise ConvertError(f"{scale.name}: holds a scale that is no positive number")
    checkpoint.release(scale.name)


def _bits(raw: memoryview, dtype: str) -> "array[int]":
    """The bit patterns of floats, which order positive ones as their values do."""
    bits = array("I" if dtype == "F32" else "H", bytes(raw))
    if sys.byteorder == "big":
        bits.byteswap()
    return bits
