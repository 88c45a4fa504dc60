"""The tensor types of GGUF: their numbers in the file, and how many bytes hold how many values.

Source: `enum ggml_type` in llama.cpp's ggml.h, and the block structures of ggml-common.h.
"""

from dataclasses import dataclass
from math import prod

from modelmill import ConvertError


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """A tensor type: `block_bytes` bytes hold `block_values` neighbouring values of a row.

    `tail_bytes` stand once behind all blocks of a tensor; no type of ggml's own has them.
    """

    name: str
    number: int
    block_values: int
    block_bytes: int
    tail_bytes: int = 0


_TABLE = (
    ("F32", 0, 1, 4),
    ("F16", 1, 1, 2),
    ("Q4_0", 2, 32, 18),
    ("Q4_1", 3, 32, 20),
    ("Q5_0", 6, 32, 22),
    ("Q5_1", 7, 32, 24),
    ("Q8_0", 8, 32, 34),
    ("Q8_1", 9, 32, 36),
    ("Q2_K", 10, 256, 84),
    ("Q3_K", 11, 256, 110),
    ("Q4_K", 12, 256, 144),
    ("Q5_K", 13, 256, 176),
    ("Q6_K", 14, 256, 210),
    ("Q8_K", 15, 256, 292),
    ("IQ2_XXS", 16, 256, 66),
    ("IQ2_XS", 17, 256, 74),
    ("IQ3_XXS", 18, 256, 98),
    ("IQ1_S", 19, 256, 50),
    ("IQ4_NL", 20, 32, 18),
    ("IQ3_S", 21, 256, 110),
    ("IQ2_S", 22, 256, 82),
    ("IQ4_XS", 23, 256, 136),
    ("I8", 24, 1, 1),
    ("I16", 25, 1, 2),
    ("I32", 26, 1, 4),
    ("I64", 27, 1, 8),
    ("F64", 28, 1, 8),
    ("IQ1_M", 29, 256, 56),
    ("BF16", 30, 1, 2),
    ("TQ1_0", 34, 256, 54),
    ("TQ2_0", 35, 256, 66),
    ("MXFP4", 39, 32, 17),
    ("NVFP4", 40, 64, 36),
    ("Q1_0", 41, 128, 18),
    ("Q2_0", 42, 64, 18),
)

TYPES = {
    name: TensorType(name=name, number=number, block_values=values, block_bytes=size)
    for name, number, values, size in _TABLE
}
BY_NUMBER = {kind.number: kind for kind in TYPES.values()}
I2_S = TensorType(name="I2_S", number=36, block_values=4, block_bytes=1, tail_bytes=32)
"""A type of bitnet.cpp's fork of ggml (`GGML_TYPE_I2_S` in its ggml.h); llama.cpp has no type with this number."""

PACKED = tuple(name for name in TYPES if name not in ("Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"))
"""The types that weights can become: the others hold whole numbers, or what ggml makes while it multiplies."""

UNQUANTIZED = frozenset({"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"})


def type_named(name: str) -> TensorType:
    """The type of this name, I2_S included. KeyError for a name that is none."""
    return I2_S if name == I2_S.name else TYPES[name]


def byte_size(kind: str, shape: tuple[int, ...]) -> int:
    """The bytes of a tensor of this type and row-major shape.

    Raises ConvertError where the rows do not divide into whole blocks.
    """
    found = type_named(kind)
    if shape and shape[-1] % found.block_values:
        raise ConvertError(
            f"A row of {shape[-1]} values does not divide into {kind} blocks of {found.block_values}; "
            "choose a type with smaller blocks."
        )
    return prod(shape) // found.block_values * found.block_bytes + found.tail_bytes
