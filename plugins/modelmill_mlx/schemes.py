"""The schemes of MLX: which numbers a name such as `4bit` stands for, and what they cost in bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelmill import Tensor

WORD_BITS = 32
"""MLX packs quantized values into words of 32 bits, the first value in the lowest bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How one weight is quantized: groups of `group_size` values of a row share a scale, in mode `affine` a bias too.

    Source: `mlx.core.quantize`.
    """

    bits: int
    group_size: int
    mode: str = "affine"

    @property
    def dtype(self) -> str:
        """The word that stands for a tensor's type, such as `4bit-g64`."""
        name = self.mode if self.mode != "affine" else f"{self.bits}bit"
        return f"{name}-g{self.group_size}"

    def fits(self, width: int) -> bool:
        """Whether MLX can quantize rows of this width."""
        return width > 0 and width % self.group_size == 0


FLOATS: Mapping[str, tuple[str, str]] = {
    "bf16": ("bfloat16", "BF16"),
    "f16": ("float16", "F16"),
    "f32": ("float32", "F32"),
}
"""Schemes that quantize nothing: MLX's word and safetensors' word for their dtype."""

SAFETENSORS: Mapping[str, str] = dict(FLOATS.values())
"""MLX's word for a dtype → safetensors' word."""

TYPES: Mapping[str, tuple[int, str]] = {
    "2bit": (2, "affine"),
    "3bit": (3, "affine"),
    "4bit": (4, "affine"),
    "5bit": (5, "affine"),
    "6bit": (6, "affine"),
    "8bit": (8, "affine"),
    "mxfp4": (4, "mxfp4"),
}
"""Types that a recipe may name: bits and mode. They are schemes too: every layer of that type."""

RECIPES = ("mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6")
"""Schemes that are recipes: each a file of `recipes/`."""

SCHEMES = (*FLOATS, *TYPES, *RECIPES)

GROUP_SIZES: Mapping[str, tuple[int, ...]] = {"affine": (64, 32, 128), "mxfp4": (32,)}
"""The group sizes that MLX offers in each mode, its default first."""


def of_type(name: str, group_size: int) -> Quantization:
    """The quantization that a recipe's type stands for. KeyError for a name that is none."""
    bits, mode = TYPES[name]
    return Quantization(bits=bits, group_size=group_size if mode == "affine" else GROUP_SIZES[mode][0], mode=mode)


def stored(tensor: Tensor, quantization: Quantization | None) -> tuple[Tensor, ...]:
    """The tensors of a file that hold one weight: itself, or packed words with their scales and biases."""
    if quantization is None:
        return (tensor,)
    path = tensor.name.removesuffix(".weight")
    *rows, width = tensor.shape
    groups = (*rows, width // quantization.group_size)
    words = (*rows, width * quantization.bits // WORD_BITS)
    packed = Tensor(name=tensor.name, dtype="U32", shape=words)
    if quantization.mode != "affine":
        return (packed, Tensor(name=f"{path}.scales", dtype="U8", shape=groups))
    return (
        packed,
        Tensor(name=f"{path}.scales", dtype=tensor.dtype, shape=groups),
        Tensor(name=f"{path}.biases", dtype=tensor.dtype, shape=groups),
    )
