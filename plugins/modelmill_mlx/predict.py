"""What a conversion to MLX will give and cost, known from headers alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from modelmill import ConvertError, Estimate, Facts, Outlook, Refusal, Tensor
from modelmill.checkpoint import dominant_dtype, tensor_bytes
from modelmill.recipe import Recipe, RecipeError
from modelmill_mlx.files import TOKENIZER, sizes
from modelmill_mlx.layout import KEPT, Layout, Request, kept_layers, plan_layout
from modelmill_mlx.schemes import FLOATS

BLOCK_BYTES = 2 << 20
"""Bytes of a weight that are quantized at a time: few enough to stay in a core's cache when they are widened."""
WAITING = 8
"""Blocks under way for each thread: enough to go on with while a weight is hashed and written."""
_START = 30 << 20
_IN_FLIGHT = 96 << 20
"""What blocks under way take on four or five cores, as they came and as they become."""
_READ, _QUANTIZE, _MICROSCALE = 1.5e9, 3e8, 1e7
"""Bytes of source per second on one core: copied, by the affine kernel, and by MLX's CPU kernel for mxfp4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What build.toml may set beside the scheme; without them the result is what `mlx_lm convert` makes.

    But for groups of 2 bits (`2bit`, `mixed_2_6`) that hold only -s, 0 and s, as in ternary models: they are held
    exactly, and MLX's own rounding would change them. And the mixed recipes name the group size of every layer in
    config.json, which `mlx_lm convert` leaves null where it is not given.

    `group_size`: values that share a scale, MLX's default where it is not given. `dtype`: of what is not quantized,
    and of the scales; what config.json's torch_dtype says, or as it is, where it is not given. `recipe`: types of
    single layers, over the scheme.
    """

    group_size: Literal[32, 64, 128] | None = None
    dtype: Literal["float16", "bfloat16", "float32"] | None = None
    recipe: Recipe | None = None


def request(scheme: str, options: Options) -> Request:
    """The scheme and the options as `plan_layout` takes them."""
    return Request(scheme=scheme, group_size=options.group_size, dtype=options.dtype, recipe=options.recipe)


def infer(outlook: Outlook[Options]) -> Facts | Refusal:
    """The facts of the result, exact in tensors and weight files; a refusal for what cannot be converted."""
    facts = outlook.facts
    scheme = outlook.scheme or _lossless(facts.tensors)
    try:
        require_tokenizer(facts.files)
        layout = plan_layout(facts.config, facts.tensors, request(scheme, outlook.options))
    except (ConvertError, RecipeError) as error:
        return Refusal(reason=str(error))
    quantized = any(weight.quantization for weight in layout.weights)
    if not quantized and scheme not in FLOATS:
        reasons = kept_layers(layout)
        if KEPT in reasons:
            return Refusal(reason=f"{scheme} would quantize nothing: {' and '.join(reasons)}; use the scheme bf16")
        return Refusal(
            reason=f"no layer has rows that a group of {layout.default.group_size if layout.default else 0} values "
            f"divides, so {scheme} would quantize nothing; name a smaller group_size, or the scheme bf16"
        )
    return replace(
        facts,
        format="mlx",
        scheme=scheme,
        tensors=logical(layout),
        files=sizes(layout, facts.config, facts.files),
        quantization=scheme if quantized else facts.quantization,
        details={**facts.details, "exceptions": {why: list(paths) for why, paths in kept_layers(layout).items()}},
    )


def logical(layout: Layout) -> tuple[Tensor, ...]:
    """The weights as the format's tensors: one for each, by name, with `4bit-g64` and the like as its dtype."""
    found = (
        replace(weight.tensor, dtype=weight.quantization.dtype) if weight.quantization else weight.tensor
        for weight in layout.weights
    )
    return tuple(sorted(found, key=lambda tensor: tensor.name))


def require_tokenizer(files: Mapping[str, Any]) -> None:
    """ConvertError for a checkpoint without a tokenizer, which mlx-lm does not load."""
    if not {"tokenizer.json", "tokenizer.model", "vocab.json"} & files.keys():
        raise ConvertError(
            f"the checkpoint has no tokenizer; mlx-lm needs one of {', '.join(TOKENIZER[:1] + TOKENIZER[4:6])}"
        )


def estimate(outlook: Outlook[Options], facts: Facts) -> Estimate:
    """Bytes, memory and time of one conversion."""
    widths = {"BF16": 2, "F16": 2, "F32": 4}
    largest = max((math.prod(t.shape) * widths.get(t.dtype, 4) for t in outlook.facts.tensors), default=0)
    total = sum(tensor_bytes(t) for t in outlook.facts.tensors if t.dtype in widths)
    kernel = _MICROSCALE if facts.scheme == "mxfp4" else _QUANTIZE
    seconds = total / _READ + (0 if facts.scheme in FLOATS else total / kernel)
    return Estimate(
        bytes_out=sum(facts.files.values()),
        # The largest weight is mapped until all its rows are done, and its scales wait until its words are written.
        peak_memory=_START + min(total, _IN_FLIGHT) + largest * 5 // 4,
        seconds=seconds,
    )


def _lossless(tensors: tuple[Tensor, ...]) -> str:
    words = {safetensors: scheme for scheme, (_, safetensors) in FLOATS.items()}
    return words.get(dominant_dtype(tensors) or "", "bf16")
