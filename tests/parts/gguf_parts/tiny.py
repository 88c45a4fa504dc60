"""Small random GGUF models of any shape, written by the `gguf` package."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gguf


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """The shape of a small model.

    `groups` is one number of key-value heads, or one for each layer. The matrices have `rows` rows whatever the model's
    sizes say: the quantizer looks at row lengths only, and a model of 80 layers stays small.
    """

    architecture: str = "llama"
    dtype: str = "F16"
    layers: int = 9
    width: int = 256
    feed_forward: int = 288
    heads: int = 4
    groups: int | tuple[int, ...] = 1
    experts: int = 0
    vocabulary: int = 4
    rows: int = 2
    tied: bool = False
    fused_qkv: bool = False
    seed: int = 7


def shapes(tiny: Tiny) -> dict[str, tuple[int, ...]]:
    """The tensors of the model, row-major."""
    width, hidden, rows = tiny.width, tiny.feed_forward, tiny.rows
    stack = (tiny.experts,) if tiny.experts else ()
    suffix = "_exps" if tiny.experts else ""
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (tiny.vocabulary, width), "output_norm.weight": (width,)}
    if not tiny.tied:
        found["output.weight"] = (tiny.vocabulary, width)
    for layer in range(tiny.layers):
        name = f"blk.{layer}."
        found[name + "attn_norm.weight"] = (width,)
        if tiny.fused_qkv:
            found[name + "attn_qkv.weight"] = (rows, width)
        else:
            found[name + "attn_q.weight"] = (rows, width)
            found[name + "attn_k.weight"] = (rows, width)
            found[name + "attn_v.weight"] = (rows, width)
        found[name + "attn_output.weight"] = (rows, width)
        found[name + "ffn_norm.weight"] = (width,)
        if tiny.experts:
            found[name + "ffn_gate_inp.weight"] = (tiny.experts, width)
        found[f"{name}ffn_gate{suffix}.weight"] = (*stack, rows, width)
        found[f"{name}ffn_up{suffix}.weight"] = (*stack, rows, width)
        found[f"{name}ffn_down{suffix}.weight"] = (*stack, rows, hidden)
    return found


def write(path: Path, tiny: Tiny) -> Path:
    """Write the model; the same shape gives the same file."""
    random = np.random.default_rng(tiny.seed)
    writer = gguf.GGUFWriter(path, tiny.architecture)
    name = tiny.architecture
    writer.add_uint32(f"{name}.block_count", tiny.layers)
    writer.add_uint32(f"{name}.context_length", 128)
    writer.add_uint32(f"{name}.embedding_length", tiny.width)
    writer.add_uint32(f"{name}.feed_forward_length", tiny.feed_forward)
    writer.add_uint32(f"{name}.attention.head_count", tiny.heads)
    if isinstance(tiny.groups, int):
        writer.add_uint32(f"{name}.attention.head_count_kv", tiny.groups)
    else:
        writer.add_array(f"{name}.attention.head_count_kv", tiny.groups)
    writer.add_float32(f"{name}.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_float32(f"{name}.attention.layer_norm_epsilon", 1e-5)
    writer.add_uint32("general.file_type", 1)
    writer.add_string("general.name", "tiny")
    if tiny.experts:
        writer.add_uint32(f"{name}.expert_count", tiny.experts)
        writer.add_uint32(f"{name}.expert_used_count", 2)
    writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(tiny.vocabulary)])
    # Not in the order in which the quantizer writes.
    for tensor, shape in reversed(shapes(tiny).items()):
        values = (random.standard_normal(shape) * random.uniform(0.02, 0.5)).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(tensor, values)
        elif tiny.dtype == "BF16":
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(tensor, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor, values.astype(np.float16 if tiny.dtype == "F16" else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def importances(tiny: Tiny) -> dict[str, NDArray[Any]]:
    """An importance for every column of every matrix."""
    random = np.random.default_rng(tiny.seed + 1)
    return {
        name: random.uniform(0.01, 4, int(np.prod(shape[:-2])) * shape[-1]).astype(np.float32)
        for name, shape in shapes(tiny).items()
        if len(shape) > 1 and name not in ("token_embd.weight", "output.weight")
    }


def write_imatrix(path: Path, values: dict[str, NDArray[Any]], *, chunks: int = 3, dataset: str = "text.txt") -> Path:
    """An importance matrix in llama.cpp's GGUF format; the counts are a power of two, so that means are exact."""
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].clear()  # no general.architecture
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", [dataset])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, means in values.items():
        writer.add_tensor(f"{name}.in_sum2", means.reshape(1, -1) * np.float32(4))
        writer.add_tensor(f"{name}.counts", np.full((1, 1), 4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_legacy_imatrix(path: Path, values: dict[str, NDArray[Any]], *, calls: int = 4) -> Path:
    """The same in the format that llama.cpp wrote before: means, multiplied by a number of calls."""
    parts = [struct.pack("<i", len(values))]
    for name, means in values.items():
        parts.append(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, means.size))
        parts.append((means * np.float32(calls)).astype("<f4").tobytes())
    path.write_bytes(b"".join([*parts, struct.pack("<ii", calls, 8), b"text.txt"]))
    return path
