"""Tiny checkpoints in Hugging Face layout, made in a moment, the same bytes on every machine."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelmill.testing.architectures import architecture, configuration, weights
from modelmill.testing.shapes import BIAS, LINEAR, NORM, SHIFT_NORM, Shape, Weight
from modelmill.testing.tokenizers import make_tokenizer

MANTISSA_BITS = {"BF16": 7, "F16": 10, "F32": 23}
EXPONENT_BIAS = {"BF16": 127, "F16": 15, "F32": 127}
BYTES = {"BF16": 2, "F16": 2, "F32": 4}


def make_checkpoint(  # noqa: PLR0913
    folder: Path,
    name: str,
    *,
    shape: Shape | None = None,
    dtype: str = "BF16",
    shards: int = 1,
    seed: int = 0,
    ternary: bool | None = None,
    tokenizer: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint of the architecture `name` (see ARCHITECTURES) into `folder`, and return the folder.

    The weights are random but of sensible size; equal arguments give equal bytes. `dtype` is BF16, F16 or F32.
    `ternary` makes the weights of the linear layers -s, 0 or s, as BitNet's are by default. `tokenizer` is a
    name of FAMILIES where it is to differ from the architecture's own. `config` replaces values of config.json.
    """
    made, sizes = architecture(name), shape or Shape()
    tokens = make_tokenizer(tokenizer or made.family)
    settings = {**configuration(made, sizes, tokens, dtype), **(config or {})}
    tensors = weights(made, sizes, settings["vocab_size"], tied=settings["tie_word_embeddings"])
    is_ternary = name == "bitnet" if ternary is None else ternary
    data = {
        weight.name: (weight, random_values(weight, dtype, seed, ternary=is_ternary))
        for weight in sorted(tensors, key=lambda weight: weight.name)
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in {
        "config.json": _json(settings),
        "generation_config.json": _json(
            {key: settings[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        ),
        **tokens.files,
        **_weight_files(data, dtype, shards),
    }.items():
        (folder / path).write_bytes(content)
    return folder


def random_values(weight: Weight, dtype: str, seed: int, *, ternary: bool = False) -> bytes:
    """Random numbers in `dtype`, little-endian, of the size that the weight's role calls for.

    The bits come from SHAKE-256 over seed and name, so that they do not depend on any library's generator.
    Sign and mantissa are random; the exponent is a base plus two random bits, which bounds the magnitude.
    """
    width, mantissa = BYTES[dtype], MANTISSA_BITS[dtype]
    count = math.prod(weight.shape)
    noise = int.from_bytes(hashlib.shake_256(f"{seed}:{weight.name}".encode()).digest(count * width), "little")
    every = int.from_bytes((1).to_bytes(width, "little") * count, "little")
    sign, fraction = 1 << (8 * width - 1), (1 << mantissa) - 1

    def power(exponent: int) -> int:
        return exponent + EXPONENT_BIAS[dtype] << mantissa

    if weight.role == NORM:  # [1, 1.5)
        bits = noise & every * (fraction >> 1) | every * power(0)
    elif ternary and weight.role == LINEAR:  # -1/8, 0, 1/8
        bits = (noise & every) * power(-3) | noise & every * sign
    else:  # bounded by 1/2 for the embedding, by 1/8 for biases and shifts, by 1/4 for the layers
        largest = {LINEAR: -3, BIAS: -4, SHIFT_NORM: -4}.get(weight.role, -2)
        low = largest - 3
        low -= (low + EXPONENT_BIAS[dtype]) % 4  # so that the two random bits add without a carry
        bits = noise & every * (sign | 3 << mantissa | fraction) | every * power(low)
    return bits.to_bytes(count * width, "little")


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """The bytes of a safetensors file with these tensors (dtype, shape, data), in the order given."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, size, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(size), "data_offsets": [offset, offset + len(content)]}
        offset += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(content for _, _, content in tensors.values())


def _weight_files(data: Mapping[str, tuple[Weight, bytes]], dtype: str, shards: int) -> dict[str, bytes]:
    def shard(names: Iterable[str]) -> bytes:
        return safetensors({name: (dtype, data[name][0].shape, data[name][1]) for name in names})

    names = list(data)
    if shards == 1:
        return {"model.safetensors": shard(names)}
    files: dict[str, bytes] = {}
    where: dict[str, str] = {}
    for index in range(shards):
        path = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[index * len(names) // shards : (index + 1) * len(names) // shards]
        files[path] = shard(mine)
        where |= dict.fromkeys(mine, path)
    total = sum(len(content) for _, content in data.values())
    files["model.safetensors.index.json"] = _json({"metadata": {"total_size": total}, "weight_map": where})
    return files


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
