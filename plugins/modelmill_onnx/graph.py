"""What an ONNX file's header says of its model: operators, weights, and where the weights lie.

Read without `onnx` and without a weight's bytes. Field numbers: onnx/onnx.proto3 (IR version 10).
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from modelmill import ConvertError
from modelmill_onnx import wire

# fmt: off
_DTYPES: Final = (
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16",
    "DOUBLE", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ",
    "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4", "INT4", "FLOAT4E2M1", "FLOAT8E8M0", "UINT2", "INT2",
)
"""TensorProto.DataType, by number."""
# fmt: on
_EXTERNAL = 1
_DEEPEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor that the graph holds.

    `location`, `offset` and `length` say where its bytes lie, as the file has them, unchecked; `location` is
    None for a tensor whose numbers are in the file itself, and `length` is None where the file leaves it out.
    `data` are TensorProto's own fields that hold numbers, by their number, not decoded. `constant` tells of a tensor
    that an operator has as an attribute, and not the graph.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    location: str | None = None
    offset: int = 0
    length: int | None = None
    data: tuple[tuple[int, int | memoryview], ...] = ()
    constant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A node of the graph: its type, its name, its inputs, and its integer attributes."""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: dict[str, int]


@dataclass(slots=True, kw_only=True)
class Graph:
    """The whole model; `weights` holds also the tensors of subgraphs and attributes."""

    producer: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)


def read_graph(path: Path) -> Graph:
    """The graph of one `.onnx` file. ConvertError, naming the file, where it holds none."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        graph = Graph()
        _model(memoryview(mapped), graph)
    except FileNotFoundError:
        raise ConvertError(f"{path.name}: there is no such file") from None
    except (ConvertError, ValueError, OSError) as error:
        raise ConvertError(f"{path.name}: is not a whole ONNX model: {error}") from None
    if not graph.operators or not graph.outputs:
        raise ConvertError(f"{path.name}: is not an ONNX model: it holds no graph")
    return graph


def _model(data: memoryview, into: Graph) -> None:
    for number, value in wire.fields(data):
        match number:
            case 2:
                into.producer = wire.text(value)
            case 7:
                _graph(wire.message(value), into, depth=0)


def _graph(data: memoryview, into: Graph, depth: int) -> None:
    if depth > _DEEPEST:
        raise ConvertError(f"its graphs are nested more than {_DEEPEST} deep")
    for number, value in wire.fields(data):
        match number:
            case 1:
                into.operators.append(_operator(wire.message(value), into, depth))
            case 5:
                into.weights.append(_weight(wire.message(value)))
            case 11 | 12 if depth == 0:
                names = into.inputs if number < 12 else into.outputs  # noqa: PLR2004
                names.extend(wire.text(name) for at, name in wire.fields(wire.message(value)) if at == 1)


def _operator(data: memoryview, into: Graph, depth: int) -> Operator:
    inputs, outputs, name, kind = [], [], "", ""
    numbers: dict[str, int] = {}
    for number, value in wire.fields(data):
        match number:
            case 1:
                inputs.append(wire.text(value))
            case 2:
                outputs.append(wire.text(value))
            case 3:
                name = wire.text(value)
            case 4:
                kind = wire.text(value)
            case 5:
                numbers.update(_attribute(wire.message(value), into, depth))
    return Operator(type=kind, name=name, inputs=tuple(inputs), outputs=tuple(outputs), integers=numbers)


def _attribute(data: memoryview, into: Graph, depth: int) -> Iterator[tuple[str, int]]:
    name, integer = "", None
    for number, value in wire.fields(data):
        match number:
            case 1:
                name = wire.text(value)
            case 3:
                (integer,) = wire.integers(value)
            case 5 | 10:
                into.weights.append(replace(_weight(wire.message(value)), constant=True))
            case 6 | 11:
                _graph(wire.message(value), into, depth + 1)
    if integer is not None:
        yield name, integer


def _weight(data: memoryview) -> Weight:
    name, dtype, external = "", 0, False
    shape: list[int] = []
    place: dict[str, str] = {}
    content: list[tuple[int, int | memoryview]] = []
    for number, value in wire.fields(data):
        match number:
            case 1:
                shape.extend(wire.integers(value))
            case 2:
                (dtype,) = wire.integers(value)
            case 8:
                name = wire.text(value)
            case 4 | 5 | 7 | 9 | 10 | 11:
                content.append((number, value))
            case 13:
                entry = {at: wire.text(part) for at, part in wire.fields(wire.message(value))}
                place[entry.get(1, "")] = entry.get(2, "")
            case 14:
                external = value == _EXTERNAL
    word = _DTYPES[dtype] if 0 <= dtype < len(_DTYPES) else f"type {dtype}"
    weight = Weight(name=name, dtype=word, shape=tuple(shape), data=tuple(content))
    return _placed(weight, place) if external else weight


def _placed(weight: Weight, place: dict[str, str]) -> Weight:
    numbers = {key: place[key] for key in ("offset", "length") if key in place}
    for key, number in numbers.items():
        if not (number.isascii() and number.isdigit()):
            raise ConvertError(f"tensor {weight.name!r} has the {key} {number!r}")
    return Weight(
        name=weight.name,
        dtype=weight.dtype,
        shape=weight.shape,
        location=place.get("location", ""),
        offset=int(numbers.get("offset", "0")),
        length=int(numbers["length"]) if "length" in numbers else None,
    )
