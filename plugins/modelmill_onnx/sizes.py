"""How many values a model's matrices, tables and the rest hold, and the bytes that they take in blocks.

The values travel in `Facts.details["onnx"]`: `matrices`, `tables` and `rest` count values, `rows` and `table_rows` say
how many rows of each width (as text, for JSON) the first two have, `largest` is the largest of them, `squares` the sum
of the matrices' squared widths, `beside` the bytes of a folder's other files, and, where a graph is still to be built,
`named` the name, rows and width of each matrix.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Final

from modelmill_onnx.graph import Graph

FLOATS: Final = ("FLOAT", "FLOAT16")
GATHERED: Final = 2 * 1024**3
"""Bytes of activations' squares that a quantizer gathers in one pass over a text; no byte of the result depends on a
machine's memory."""
_MATRIX: Final = 2
_MATRIX_INPUT: Final = {"MatMul": 1, "Gemm": 1, "Gather": 0, "Transpose": 0}
"""Where an operator takes a matrix that can be quantized; the caches of sines and cosines go to no such place."""


def count(
    matrices: Iterable[tuple[int, int]], tables: Iterable[tuple[int, int]], rest: int, beside: int
) -> dict[str, Any]:
    """The counts of matrices and tables given as (rows, width), width being what blocks run along."""
    given = {"matrices": list(matrices), "tables": list(tables)}
    sizes = {kind: [prod(shape) for shape in shapes] for kind, shapes in given.items()}
    rows: dict[str, Counter[str]] = {kind: Counter() for kind in given}
    for kind, shapes in given.items():
        for number, width in shapes:
            rows[kind][str(width)] += number
    return {
        "matrices": sum(sizes["matrices"]),
        "tables": sum(sizes["tables"]),
        "rest": rest,
        "rows": dict(rows["matrices"]),
        "table_rows": dict(rows["tables"]),
        "largest": max(sizes["matrices"] + sizes["tables"], default=0),
        "squares": sum(width * width for _, width in given["matrices"]),
        "beside": beside,
    }


def count_graphs(graphs: Iterable[Graph], beside: int) -> dict[str, Any]:
    """The counts of graphs; their tables count as matrices, for one may be both."""
    matrices, rest = [], 0
    for graph in graphs:
        used: dict[str, int] = {}
        for operator in graph.operators:
            at = _MATRIX_INPUT.get(operator.type, len(operator.inputs))
            for name in operator.inputs[at : at + 1]:
                used[name] = max(at, used.get(name, 0))
        for weight in graph.weights:
            if weight.dtype not in FLOATS:
                continue
            if len(weight.shape) == _MATRIX and weight.name in used:
                height, width = weight.shape
                matrices.append((width, height) if used[weight.name] else (height, width))
            else:
                rest += prod(weight.shape)
    return count(matrices, (), rest, beside)


def in_blocks(rows: Mapping[str, int], bits: int | None, block_size: int, scale: int, *, symmetric: bool) -> int:
    """Bytes of rows by width in blocks: codes, padded to whole blocks, scales of `scale` bytes, and zero points.

    Without bits the rows stay values of `scale` bytes.
    """
    if bits is None:
        return sum(scale * number * int(width) for width, number in rows.items())
    blocks = sum(number * -(-int(width) // block_size) for width, number in rows.items())
    return int(blocks * (block_size * bits / 8 + scale + (0 if symmetric else bits / 8)))
