"""Which tensors the weights of a graph stand for: a quantized matrix is one tensor, whatever it is stored in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from modelmill import Tensor
from modelmill_onnx.graph import Graph, Operator, Weight

_DYNAMIC: Final = "_quantized"
"""What ONNX Runtime's dynamic quantization adds to a weight's name; its scale and zero point lie beside it."""
_NIBBLE, _BYTE = 4, 8
_NOT_NUMBERS: Final = ("STRING", "UNDEFINED")
_COUNTS: Final = ("BOOL", "INT32", "INT64", "UINT32", "UINT64")
"""What shapes, axes and positions are of; no scheme keeps weights in them."""
CACHES: Final = {
    "DynamicSparseAttention": slice(11, 13),
    "GroupQueryAttention": slice(7, 9),
    "MRotaryEmbedding": slice(2, 4),
    "PackedSparseAttentionIndexer": slice(4, 6),
    "PagedAttention": slice(8, 10),
    "RotaryEmbedding": slice(1, 4),
    "SparseAttention": slice(9, 11),
    "SparseAttentionIndexer": slice(4, 6),
    "SparsePagedAttention": slice(14, 16),
}
"""Where operators take the cosines and sines of a rotary embedding; ONNX's RotaryEmbedding and ONNX Runtime's differ.

Sources: ONNX Runtime's docs/ContribOperators.md, onnx's docs/Operators.md.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One tensor and the weights that hold it.

    `blocks`: codes, scales and, unless the grid is symmetric, zero points of MatMulNBits, K along the rows; a
    `table` is the same, its rows looked up instead. `dynamic`: integers, scale and zero point. `plain`: itself.
    """

    tensor: Tensor
    kind: Literal["plain", "blocks", "table", "dynamic"]
    parts: tuple[Weight, ...]
    bits: int = 0
    block_size: int = 0


def stored_tensors(graph: Graph) -> tuple[Stored, ...]:
    """Every tensor of a graph, in the order of its weights."""
    weights = {weight.name: weight for weight in graph.weights if weight.dtype not in _NOT_NUMBERS}
    quantized = {stored.parts[0].name: stored for stored in (*_blocks(graph, weights), *_dynamic(weights))}
    inside = {part.name for stored in quantized.values() for part in stored.parts}
    trained = _trained(graph)
    found = []
    for weight in weights.values():
        if weight.name in quantized:
            found.append(quantized[weight.name])
        elif weight.name not in inside:
            is_weight = weight.name in trained and not weight.constant
            plain = Tensor(name=weight.name, dtype=weight.dtype, shape=weight.shape, weight=is_weight)
            found.append(Stored(tensor=plain, kind="plain", parts=(weight,)))
    return tuple(found)


def _trained(graph: Graph) -> set[str]:
    """The names of what holds parameters: neither shapes and positions, nor sines and cosines, nor what nothing reads.

    The model builder leaves the caches of a rotary embedding that no layer has in its graphs.
    """
    read = {name for operator in graph.operators for name in operator.inputs}
    caches = {name for operator in graph.operators for name in operator.inputs[CACHES.get(operator.type, slice(0))]}
    return {weight.name for weight in graph.weights if weight.dtype not in _COUNTS} & read - caches


def _blocks(graph: Graph, weights: Mapping[str, Weight]) -> Iterator[Stored]:
    """The matrices of MatMulNBits, then the tables of GatherBlockQuantized that no product shares."""
    products = [item for item in graph.operators if item.type == "MatMulNBits"]
    shared = set()
    for operator in products:
        parts = _parts(operator, operator.inputs[1:4], weights)
        if parts:
            shared.add(parts[0].name)
            shape = (operator.integers.get("K", 0), operator.integers.get("N", 0))
            yield _stored("blocks", operator, parts, shape)
    for operator in graph.operators:
        if operator.type != "GatherBlockQuantized":
            continue
        parts = _parts(operator, (operator.inputs[0], *operator.inputs[2:4]), weights)
        if parts and parts[0].name not in shared and len(parts[0].shape) == 2:  # noqa: PLR2004
            rows, width = parts[0].shape
            yield _stored("table", operator, parts, (rows, width * _BYTE // operator.integers.get("bits", _NIBBLE)))


def _parts(operator: Operator, names: tuple[str, ...], weights: Mapping[str, Weight]) -> tuple[Weight, ...]:
    """The weights of these names; none unless all are there and the codes are bytes of whole codes."""
    named = [name for name in names if name]
    parts = tuple(weights[name] for name in named if name in weights)
    whole = len(parts) == len(named) and len(parts) > 1 and parts[0].dtype == "UINT8"
    fits = operator.integers.get("bits", _NIBBLE) in (_NIBBLE, _BYTE) and operator.integers.get("block_size", 0) > 0
    return parts if whole and fits else ()


def _stored(
    kind: Literal["blocks", "table"], operator: Operator, parts: tuple[Weight, ...], shape: tuple[int, ...]
) -> Stored:
    bits, block_size = operator.integers.get("bits", _NIBBLE), operator.integers["block_size"]
    name = parts[0].name.removesuffix(f"_Q{bits}")
    tensor = Tensor(name=name, dtype=f"int{bits}-b{block_size}", shape=shape)
    return Stored(tensor=tensor, kind=kind, parts=parts, bits=bits, block_size=block_size)


def _dynamic(weights: Mapping[str, Weight]) -> Iterator[Stored]:
    for name, weight in weights.items():
        stem = name.removesuffix(_DYNAMIC)
        beside = [weights.get(f"{stem}_{part}") for part in ("scale", "zero_point")]
        parts = (weight, *(part for part in beside if part is not None))
        if stem != name and weight.dtype in ("INT8", "UINT8") and len(parts) == 1 + len(beside):
            tensor = Tensor(name=stem, dtype=weight.dtype.lower(), shape=weight.shape)
            yield Stored(tensor=tensor, kind="dynamic", parts=parts)
