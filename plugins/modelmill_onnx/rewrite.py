"""A graph's products with a constant matrix and its table look-ups, found, and replaced by quantized ones."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from modelmill_onnx.blocks import Grid

_MATRIX = 2
_FLOATS = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}


@dataclass(slots=True, kw_only=True)
class Matrix:
    """A constant matrix [K, N] and who uses it.

    `products` are the MatMul nodes, `activations` what each multiplies it with; `lookups` are the Gather nodes
    that take its columns (of a matrix that is also multiplied with: a shared embedding, behind a Transpose) or
    its rows (of a table [N, K] of its own).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    products: list[NodeProto] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    lookups: list[NodeProto] = field(default_factory=list)
    transposes: list[NodeProto] = field(default_factory=list)

    @property
    def width(self) -> int:
        """K, along which blocks run."""
        return self.shape[0] if self.products else self.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A quantized matrix's tensors in the new file."""

    codes: TensorProto
    scales: TensorProto
    zero_points: TensorProto | None


def find_matrices(graph: onnx.GraphProto) -> list[Matrix]:
    """Every float matrix that a MatMul or an embedding's Gather uses, in the order of the graph's initializers."""
    tables = {
        tensor.name: Matrix(name=tensor.name, shape=tuple(tensor.dims), dtype=_FLOATS[tensor.data_type])
        for tensor in graph.initializer
        if len(tensor.dims) == _MATRIX and tensor.data_type in _FLOATS
    }
    transposed = {}
    others: set[str] = set()
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in tables and node.input[0] not in tables:
            tables[node.input[1]].products.append(node)
            tables[node.input[1]].activations.append(node.input[0])
        elif node.op_type == "Transpose" and node.input[0] in tables:
            transposed[node.output[0]] = tables[node.input[0]]
            tables[node.input[0]].transposes.append(node)
        elif node.op_type == "Gather" and (node.input[0] in tables or node.input[0] in transposed):
            table = tables.get(node.input[0]) or transposed[node.input[0]]
            table.lookups.append(node)
        else:
            others.update(node.input)
    for name, matrix in transposed.items():
        if name in others:
            others.add(matrix.name)
    return [matrix for matrix in tables.values() if _usable(matrix, others)]


def _usable(matrix: Matrix, others: set[str]) -> bool:
    if matrix.name in others:
        return False
    if matrix.products:
        behind = {node.output[0] for node in matrix.transposes}
        return all(node.input[0] in behind for node in matrix.lookups)
    return bool(matrix.lookups) and not matrix.transposes and all(_axis(node) == 0 for node in matrix.lookups)


def _axis(node: NodeProto) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "axis"), 0)


@dataclass(slots=True, kw_only=True)
class Changes:
    """What becomes of a graph: nodes in the place of the one with this first output, and new initializers."""

    nodes: dict[str, list[NodeProto]] = field(default_factory=dict)
    initializers: list[TensorProto] = field(default_factory=list)


def replace(matrix: Matrix, grid: Grid, stored: Stored, accuracy_level: int, changes: Changes) -> None:
    """Note the quantized operators that take the places of those that used the matrix."""
    weights = [stored.codes, stored.scales] + ([stored.zero_points] if stored.zero_points else [])
    changes.initializers.extend(weights)
    names = [tensor.name for tensor in weights]
    for node in matrix.products:
        changes.nodes[node.output[0]] = [_product(node, matrix, grid, names, accuracy_level)]
    for node in matrix.transposes:
        changes.nodes[node.output[0]] = []
    for at, node in enumerate(matrix.lookups):
        table, nodes = names[0], []
        if matrix.products:
            table = f"{matrix.name}_table"
            nodes = [_table(stored.codes, table, changes)] if at == 0 else []
        changes.nodes[node.output[0]] = nodes + _lookup(node, matrix, grid, [table, *names[1:]], changes)
    if not matrix.products:
        flat = stored.codes.dims[1] * stored.codes.dims[2]
        del stored.codes.dims[1:]
        stored.codes.dims.append(flat)


def apply(model: onnx.ModelProto, changes: Changes) -> None:
    """Carry the changes out; the order of the nodes stays, and with it the topological one."""
    nodes = [part for node in model.graph.node for part in changes.nodes.get(node.output[0], [node])]
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    del model.graph.initializer[:]
    model.graph.initializer.extend(changes.initializers)
    model.producer_name, model.producer_version = "modelmill", ""
    made = {output for node in kept for output in node.output}
    known = [item for item in model.graph.value_info if item.name in made]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)


def _product(node: NodeProto, matrix: Matrix, grid: Grid, names: list[str], accuracy_level: int) -> NodeProto:
    attributes: dict[str, Any] = {
        "K": matrix.shape[0],
        "N": matrix.shape[1],
        "bits": grid.bits,
        "block_size": grid.block_size,
    }
    if accuracy_level:
        attributes["accuracy_level"] = accuracy_level
    return helper.make_node(
        "MatMulNBits",
        [node.input[0], *names],
        list(node.output),
        name=f"{node.name}_Q{grid.bits}",
        domain="com.microsoft",
        **attributes,
    )


def _table(codes: TensorProto, output: str, changes: Changes) -> NodeProto:
    """The shared matrix's codes seen as a table of rows, as the model builder does it."""
    rows, blocks, size = codes.dims
    shape = numpy_helper.from_array(np.array([rows, blocks * size], np.int64), f"{output}/shape")
    changes.initializers.append(shape)
    return helper.make_node("Reshape", [codes.name, shape.name], [output], name=f"{output}/Reshape")


def _lookup(node: NodeProto, matrix: Matrix, grid: Grid, names: list[str], changes: Changes) -> list[NodeProto]:
    """Rows of the quantized table, without the padding of their last block."""
    padded = grid.blocks(matrix.width) * grid.block_size
    name = f"{node.name}BlockQuantized"
    gathered = node.output[0] if padded == matrix.width else f"{name}/padded"
    found = helper.make_node(
        "GatherBlockQuantized",
        [names[0], node.input[1], *names[1:]],
        [gathered],
        name=name,
        domain="com.microsoft",
        bits=grid.bits,
        block_size=grid.block_size,
        gather_axis=0,
        quantize_axis=1,
    )
    if padded == matrix.width:
        return [found]
    bounds = {"start": 0, "end": matrix.width, "axis": -1}
    changes.initializers.extend(
        numpy_helper.from_array(np.array([value], np.int64), f"{name}/{end}") for end, value in bounds.items()
    )
    inputs = [gathered, *(f"{name}/{end}" for end in bounds)]
    return [found, helper.make_node("Slice", inputs, list(node.output), name=f"{name}/Slice")]
