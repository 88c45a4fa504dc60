"""llama.cpp's own quantizer, in a process of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from reference.llama import isolated


def tensor_type(kind: str) -> int:
    """ggml's number of a tensor type."""
    number: int = isolated(_call, "tensor_type", kind)
    return number


def quantize(
    source: Path,
    out: Path,
    scheme: str,
    *,
    threads: int = 2,
    imatrix: Mapping[str, np.ndarray[Any, Any]] | None = None,
    tensor_types: Sequence[str] = (),
    keys: Sequence[tuple[str, str | int]] = (),
    **settings: Any,
) -> bool:
    """Quantize with llama.cpp; whether it did."""
    given = {"threads": threads, "imatrix": imatrix, "tensor_types": tensor_types, "keys": keys, **settings}
    done: bool = isolated(_call, "quantize", source, out, scheme, **given)
    return done


def _call(name: str, *arguments: Any, **named: Any) -> Any:
    """Call a function of `peer_process`, which only llama.cpp's process may import."""
    from gguf_parts import peer_process

    return getattr(peer_process, name)(*arguments, **named)
