"""The matrices of the graph that the model builder makes of a checkpoint, foretold from the checkpoint's tensors."""

import re
from collections.abc import Mapping
from typing import Any, Final

from modelmill import Facts, Tensor
from modelmill.recipe import Setting

_MATRIX: Final = 2
_IN_LAYER: Final = re.compile(r"model\.layers\.(\d+)\.(self_attn|mlp)\.(\w+)\.weight")
_HEADS: Final = ("num_attention_heads", "num_key_value_heads")
_ORDER: Final = ("qkv_proj", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "fc1", "down_proj", "fc2")
"""In which order the builder makes a layer's matrices, under its names for them."""
_EMBEDDING, _OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
_SHARED: Final = "lm_head.MatMul.weight"


def foretell(facts: Facts, provider: str) -> list[list[Any]] | None:
    """Name, rows and width of every matrix and table, in the graph's order; None where a tensor is not known here."""
    shapes = {tensor.name: tensor.shape for tensor in facts.tensors if len(tensor.shape) == _MATRIX}
    layers: dict[tuple[int, int], list[Any]] = {}
    for name, (rows, width) in shapes.items():
        found = _IN_LAYER.fullmatch(name)
        if found is None and name not in (_EMBEDDING, _OUTPUT):
            return None
        for part, share in _parts(found[3], rows, facts.config, provider) if found else ():
            if part not in _ORDER:
                return None
            place = (int(found[1]), _ORDER.index(part)) if found else (0, 0)
            kind = "attn" if found and found[2] == "self_attn" else "mlp"
            own = layers.setdefault(place, [f"model.layers.{place[0]}.{kind}.{part}.MatMul.weight", 0, width])
            own[1] += share
    if _EMBEDDING not in shapes:
        return None
    middle = [layers[place] for place in sorted(layers)]
    if facts.config.get("tie_word_embeddings", _OUTPUT not in shapes):
        return [*middle, [_SHARED, *shapes[_EMBEDDING]]]
    if _OUTPUT not in shapes:
        return None
    return [[_EMBEDDING, *shapes[_EMBEDDING]], *middle, [_SHARED, *shapes[_OUTPUT]]]


def _parts(name: str, rows: int, config: Mapping[str, Any], provider: str) -> list[tuple[str, int]]:
    """The matrices that one of a checkpoint becomes a part of, by the builder's names, with its rows of each."""
    together = provider != "dml"  # whose attention takes queries, keys and values apart
    if name == "gate_up_proj":
        return [("gate_proj", rows // 2), ("up_proj", rows // 2)]
    if name == "qkv_proj" and not together:
        queries, keys = (config.get(key) or 1 for key in _HEADS)
        head = rows // (queries + 2 * keys)
        return [("q_proj", head * queries), ("k_proj", head * keys), ("v_proj", head * keys)]
    if name in ("q_proj", "k_proj", "v_proj") and together:
        return [("qkv_proj", rows)]
    return [("o_proj" if name == "dense" else name, rows)]


def as_tensors(matrices: list[list[Any]]) -> list[Tensor]:
    """The matrices with the shapes that the graph gives them: a table's rows first, a product's width first."""
    return [
        Tensor(name=name, dtype="float32", shape=(rows, width) if name == _EMBEDDING else (width, rows))
        for name, rows, width in matrices
    ]


def setting_of(config: Mapping[str, Any], matrices: list[list[Any]]) -> Setting | None:
    """What a recipe asks of the model; None where config.json does not say it."""
    if "num_hidden_layers" not in config or any(key not in config for key in _HEADS):
        return None
    heads = config["num_attention_heads"]
    return Setting(
        layers=config["num_hidden_layers"],
        gqa=heads // (config["num_key_value_heads"] or heads),
        tied=all(name != _EMBEDDING for name, *_ in matrices),
    )
