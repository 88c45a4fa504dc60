"""Ternary checkpoints of BitNet b1.58 2B4T's shape whose weights mean nothing, for measurements."""

import json
from pathlib import Path

import numpy as np

from modelmill.testing import make_checkpoint

WIDTH, INNER, HEADS, GROUPS, ROWS = 2560, 6912, 20, 5, 128_256
_LAYER = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (WIDTH * GROUPS // HEADS, WIDTH),
    "self_attn.v_proj": (WIDTH * GROUPS // HEADS, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}
_NORMS = {
    "input_layernorm": WIDTH,
    "post_attention_layernorm": WIDTH,
    "self_attn.attn_sub_norm": WIDTH,
    "mlp.ffn_sub_norm": INNER,
}
_PIECE = 1 << 20


def synthetic(folder: Path, layers: int, *, packed: bool) -> Path:
    """A checkpoint with SiLU, one shard a layer: BF16 master weights, or packed as transformers packs them."""
    make_checkpoint(folder, "bitnet", config={"hidden_act": "silu"})
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": layers, "vocab_size": ROWS}
    config |= {"num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "head_dim": WIDTH // HEADS}
    if packed:
        config["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear"}
    (folder / "config.json").write_text(json.dumps(config))
    weights: dict[str, str] = {}
    for at in range(layers):
        tensors = _tensors(f"model.layers.{at}.", packed=packed)
        if at == 0:
            tensors |= {"model.embed_tokens.weight": ("BF16", (ROWS, WIDTH)), "model.norm.weight": ("BF16", (WIDTH,))}
        name = f"model-{at + 1:05d}-of-{layers:05d}.safetensors"
        _write(folder / name, tensors)
        weights |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    return folder


def _tensors(prefix: str, *, packed: bool) -> dict[str, tuple[str, tuple[int, ...]]]:
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, (rows, columns) in _LAYER.items():
        found[f"{prefix}{name}.weight"] = ("U8", (rows // 4, columns)) if packed else ("BF16", (rows, columns))
        if packed:
            found[f"{prefix}{name}.weight_scale"] = ("BF16", (1,))
    return found | {f"{prefix}{name}.weight": ("BF16", (size,)) for name, size in _NORMS.items()}


def _write(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    header, offset = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = int(np.prod(shape)) * (1 if dtype == "U8" else 2)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(0)
    normal = random.normal(scale=0.02, size=_PIECE // 2).astype(np.float32)
    pieces = {
        "BF16": ((normal.view(np.uint32) >> 16).astype("<u2") | np.uint16(1)).tobytes(),
        "U8": (random.integers(0, 3, (_PIECE, 4), np.uint8) << np.array([0, 2, 4, 6], np.uint8))
        .sum(1, np.uint8)
        .tobytes(),
    }
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, (dtype, shape) in tensors.items():
            size = int(np.prod(shape)) * (1 if dtype == "U8" else 2)
            if name.endswith("_scale"):
                file.write(b"\x80\x3f")  # 1
                continue
            for at in range(0, size, _PIECE):
                file.write(pieces[dtype][: size - at])
