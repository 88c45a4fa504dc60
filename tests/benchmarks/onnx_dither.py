"""A copy of a llama checkpoint that was made from a Q4_1 GGUF file, off the grid that the file put it on.

    python tests/benchmarks/onnx_dither.py MODEL.gguf CHECKPOINT OUT

Every weight moves uniformly at random (always the same way) inside its Q4_1 or Q8_0 bin, so that a quantizer finds no
grid of 4 bits to recover.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gguf import GGUFReader, dequantize

NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
BLOCK_BYTES = {"Q4_1": 20, "Q8_0": 34}
SEED = 20261122


def main() -> None:
    model, checkpoint, out = map(Path, sys.argv[1:])
    shutil.copytree(checkpoint, out)
    config = json.loads((out / "config.json").read_text())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    data = np.memmap(out / "model.safetensors", np.uint8, "r+")
    length = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8 : 8 + length].tobytes())
    chance = np.random.default_rng(SEED)
    for tensor in GGUFReader(model).tensors:
        if tensor.tensor_type.name not in BLOCK_BYTES:
            continue
        values = dithered(tensor, chance)
        name = "model.embed_tokens.weight"
        if tensor.name != "token_embd.weight":
            _, layer, kind, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{NAMES[kind]}.weight"
            if kind in heads:  # llama.cpp permutes the rows of queries and keys for its rotary embedding
                rows, width = values.shape
                values = values.reshape(heads[kind], rows // heads[kind] // 2, 2, width).swapaxes(1, 2)
        start, stop = header[name]["data_offsets"]
        data[8 + length + start : 8 + length + stop] = bfloat16(values).reshape(-1).view(np.uint8)
    data.flush()


def dithered(tensor: Any, chance: np.random.Generator) -> Any:
    """A tensor's values, each off by at most half a step of its block."""
    values = dequantize(tensor.data, tensor.tensor_type)
    blocks = np.ascontiguousarray(tensor.data).reshape(-1, BLOCK_BYTES[tensor.tensor_type.name])
    steps = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    noise = steps * (chance.random((len(steps), 32), dtype=np.float32) - 0.5)
    return (values.reshape(-1, 32) + noise).reshape(values.shape)


def bfloat16(values: Any) -> Any:
    """Round to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


if __name__ == "__main__":
    main()
