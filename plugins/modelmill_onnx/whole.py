"""Whether the model that transformers makes of a checkpoint is that checkpoint: nothing made up, nothing left out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from modelmill import ConvertError, Tensor

_BUFFERS: Final = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
"""What old versions of transformers saved beside the weights; it follows from the configuration."""
_LAYER: Final = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


def layer_fault(tensors: Iterable[Tensor], layers: int) -> str | None:
    """Why a checkpoint's layers are not those of a model of so many, known from its tensors' names; None for nothing.

    Names without a layer's number say nothing, and neither does a checkpoint that has no others.
    """
    there = set()
    for name in sorted(tensor.name for tensor in tensors if not tensor.name.endswith(_BUFFERS)):
        if found := _LAYER.search(name):
            there.add(int(found[1]))
            if int(found[1]) >= layers:
                return f"tensor {name!r} has no place in a model of {layers} layers, which config.json asks for"
    if there and len(there) < layers:
        missing = next(number for number in range(layers) if number not in there)
        return f"the checkpoint has no tensors of layer {missing}, and config.json asks for {layers} layers"
    return None


def check_loaded(found: Mapping[str, Any]) -> None:
    """ConvertError where transformers made weights up, or took none of the checkpoint's, by its loading info."""
    for name in sorted(found["missing_keys"]):
        raise ConvertError(f"the checkpoint has no tensor {name!r}, which config.json asks for")
    for name, there, wanted in sorted(found["mismatched_keys"]):
        raise ConvertError(
            f"tensor {name!r} has the shape {list(there)} where config.json asks for {list(wanted)}: they do not "
            "belong together"
        )
    for name in sorted(found["unexpected_keys"]):
        if not name.endswith(_BUFFERS):
            raise ConvertError(f"tensor {name!r} has no place in the model that config.json asks for")
