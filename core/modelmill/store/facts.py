"""Facts as compact JSON data, for the store and for digests."""

import math
from collections.abc import Mapping
from typing import Any

from modelmill.types import Facts, Tensor


def encode_facts(facts: Facts) -> dict[str, Any]:
    """Facts as JSON data; a tensor is a list of name, dtype and shape, and of False where it is no weight."""
    return {
        "format": facts.format,
        "scheme": facts.scheme,
        "architecture": facts.architecture,
        "config": dict(facts.config),
        "tensors": [
            [tensor.name, tensor.dtype, list(tensor.shape), *([] if tensor.weight else [False])]
            for tensor in facts.tensors
        ],
        "files": dict(facts.files),
        "quantization": facts.quantization,
        "licence": facts.licence,
        "details": dict(facts.details),
    }


def decode_facts(data: Mapping[str, Any]) -> Facts:
    """Facts from `encode_facts`; raises KeyError, TypeError or ValueError for anything else."""
    return Facts(
        format=data["format"],
        scheme=data["scheme"],
        architecture=data["architecture"],
        config=data["config"],
        tensors=tuple(
            Tensor(name=name, dtype=dtype, shape=tuple(shape), weight=not rest)
            for name, dtype, shape, *rest in data["tensors"]
        ),
        files=data["files"],
        quantization=data["quantization"],
        licence=data["licence"],
        details=data["details"],
    )


def parameters(facts: Facts) -> int:
    """How many weights a model has; four to a byte, scales apart, where it is packed as BitNet's checkpoints are."""
    weights = [tensor for tensor in facts.tensors if tensor.weight]
    if facts.quantization != "bitnet":
        return sum(math.prod(tensor.shape) for tensor in weights)
    return sum(
        math.prod(tensor.shape) * (4 if tensor.dtype == "U8" else 1)
        for tensor in weights
        if not tensor.name.endswith(".weight_scale")
    )
