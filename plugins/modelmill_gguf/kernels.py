"""Which distribution's ggml packs a tensor: the one that gives the bytes of llama.cpp.

Only the standard library, because plans are made from it.
"""

from collections.abc import Mapping
from typing import Any

from modelmill import Facts, Outlook

PREBUILT = "libggml-python"
"""Needs no compiler, and packs every type but those below as llama.cpp does."""
LLAMA = "llama-cpp-python"
_NEWER = frozenset({"IQ1_M"})
"""Types whose search is another in ggml 0.25, llama.cpp's, than in 0.20, the newest that comes prebuilt: that of IQ1_M
adds in another order (`quantize_iq1_m` in ggml-quants.c), which settles one block in some thousand otherwise."""
REQUIREMENTS: Mapping[str, str] = {PREBUILT: "modelmill[gguf]", LLAMA: "modelmill[llama]"}


def distribution_of(kind: str) -> str:
    """The distribution whose ggml packs tensors of this type."""
    return LLAMA if kind in _NEWER else PREBUILT


def more_tools(outlook: Outlook[Any], facts: Facts) -> Mapping[str, str]:
    """What packs some tensor of the result beside the prebuilt ggml, and what to install for it."""
    before = {tensor.name: tensor.dtype for tensor in outlook.facts.tensors}
    packed = {tensor.dtype for tensor in facts.tensors if tensor.dtype != before.get(tensor.name)}
    used = {distribution_of(kind) for kind in packed} - {PREBUILT}
    return {name: REQUIREMENTS[name] for name in sorted(used)}
