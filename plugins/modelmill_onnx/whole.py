"""Whether the model that transformers makes of a checkpoint is that checkpoint: nothing made up, nothing left out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from modelmill import ConvertError, Tensor
from modelmill.checkpoint import DERIVED_BUFFERS

_LAYER: Final = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


def layer_fault(tensors: Iterable[Tensor], layers: int) -> str | None:
    """Why a checkpoint's layers are not those of a model of so many, known from its tensors' names; None for nothing.

    Names without a layer's number say nothing, and neither does a checkpoint that has no others.
    """
    there = set()
    for name in sorted(tensor.name for tensor in tensors if not tensor.name.endswith(DERIVED_BUFFERS)):
        if found := _LAYER.search(name):
            there.add(int(found[1]))
            if int(found[1]) >= layers:
                return f"tensor {name!r} has no place in a model of {layers} layers, which config.json asks for"
    if there and len(there) < layers:
        missing = next(number for number in range(layers) if number not in there)
        return f"the checkpoint has no tensors of layer {missing}, and config.json asks for {layers} layers"
    return None


def check_loaded(found: Mapping[str, Any]) -> None:
    """ConvertError where transformers made weights up, or left some of the checkpoint's out, by its loading info."""
    check_there(found["missing_keys"])
    for name, there, wanted in sorted(found["mismatched_keys"]):
        raise ConvertError(
            f"tensor {name!r} has the shape {list(there)} where config.json asks for {list(wanted)}: they do not "
            "belong together"
        )
    for name in sorted(found["unexpected_keys"]):
        if not name.endswith(DERIVED_BUFFERS):
            raise ConvertError(f"tensor {name!r} has no place in the model that config.json asks for")


def check_there(missing: Iterable[str]) -> None:
    """ConvertError that names the first of the weights that a checkpoint lacks."""
    for name in sorted(missing):
        raise ConvertError(f"the checkpoint has no tensor {name!r}, which config.json asks for")
