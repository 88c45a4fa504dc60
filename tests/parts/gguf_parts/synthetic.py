"""Checkpoints of any size whose weights mean nothing, for measurements."""

import json
import os
from pathlib import Path

from modelmill.testing import make_checkpoint

WIDTH, INNER, ROWS = 2048, 8192, 49_152


def synthetic(folder: Path, gigabytes: float) -> Path:
    """A llama checkpoint of about this size in BF16, one shard a layer, every shard the same random values."""
    make_checkpoint(folder, "llama")
    layer = _layer_tensors()
    per_layer = 2 * sum(rows * columns for rows, columns in layer.values())
    layers = max(1, round((gigabytes * 1e9 - 2 * ROWS * WIDTH) / per_layer))
    _set_sizes(folder, layers)
    (folder / "model.safetensors").unlink()
    weights: dict[str, str] = {}
    shards = [{f"model.layers.{at}.{name}.weight": shape for name, shape in layer.items()} for at in range(layers)]
    shards[0] |= {"model.embed_tokens.weight": (ROWS, WIDTH), "model.norm.weight": (1, WIDTH)}
    for at, tensors in enumerate(shards):
        name = f"model-{at + 1:05d}-of-{layers:05d}.safetensors"
        _write_shard(folder / name, tensors)
        weights |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    return folder


def _layer_tensors() -> dict[str, tuple[int, int]]:
    square = (WIDTH, WIDTH)
    return {
        **{f"self_attn.{name}_proj": square for name in "qkvo"},
        "mlp.gate_proj": (INNER, WIDTH),
        "mlp.up_proj": (INNER, WIDTH),
        "mlp.down_proj": (WIDTH, INNER),
        "input_layernorm": (1, WIDTH),
        "post_attention_layernorm": (1, WIDTH),
    }


def _set_sizes(folder: Path, layers: int) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": layers, "vocab_size": ROWS}
    config |= {"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))


def _write_shard(path: Path, tensors: dict[str, tuple[int, int]]) -> None:
    header, offset = {}, 0
    for name, (rows, columns) in tensors.items():
        size = 2 * rows * columns
        shape = [columns] if rows == 1 else [rows, columns]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    # Random bits below the exponents of infinities and NaN.
    noise = int.from_bytes(os.urandom(1 << 20), "little") & int.from_bytes(b"\xff\xbf" * (1 << 19), "little")
    block = noise.to_bytes(1 << 20, "little")
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for at in range(0, offset, len(block)):
            file.write(block[: offset - at])
