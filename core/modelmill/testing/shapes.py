"""What a tiny model is made of: its sizes, its tensors, and what tells one architecture from another."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LINEAR, NORM, SHIFT_NORM, BIAS, EMBEDDING = "linear", "norm", "shift-norm", "bias", "embedding"
"""What a tensor is for, which decides what its random values look like: a shift norm holds its scale less one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a tiny model. No row of its tensors is a multiple of a K-quant's block of 256."""

    hidden: int = 64
    intermediate: int = 160
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_width: int | None = None
    """Elements of one head, where that is not `hidden / heads`."""
    tied: bool | None = None
    """Whether the output shares the embedding's weights; None leaves it as the architecture has it."""

    @property
    def head(self) -> int:
        """Elements of one head."""
        return self.head_width or self.hidden // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One tensor to be made: its name, its shape and what it is for."""

    name: str
    shape: tuple[int, ...]
    role: str


Part = tuple[str, tuple[int, ...], str]
"""A tensor of a layer: its name there, its shape and what it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture: how it tokenizes, what its config.json says, and which tensors it has."""

    family: str
    class_name: str
    model_type: str
    tied: bool
    config: Callable[[Shape], Mapping[str, Any]]
    layer: Callable[[Shape], Iterator[Part]]
    ends: tuple[tuple[str, str], ...] = (("norm.weight", NORM),)
    """What is behind the last layer, and what it is for."""
    has_head_bias: bool = False
