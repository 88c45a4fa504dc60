"""Tiny checkpoints of the families that the plugin offers, as transformers makes them."""

import json
import shutil
from pathlib import Path
from typing import Any

from modelmill.testing import make_checkpoint

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
_HEAD = {"head_dim": 16}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "cohere": ("Cohere", {"tie_word_embeddings": True}),
    "ernie4_5": ("Ernie4_5", _HEAD),
    "gemma2": ("Gemma2", {**_HEAD, "query_pre_attn_scalar": 16, "tie_word_embeddings": True}),
    "gemma3_text": (
        "Gemma3Text",
        {**_HEAD, "num_hidden_layers": 6, "query_pre_attn_scalar": 16, "tie_word_embeddings": True},
    ),
    "glm4": ("Glm4", {**_HEAD, "pad_token_id": 0}),
    "gpt_neox": ("GPTNeoX", {"intermediate_size": 256}),
    "helium": ("Helium", _HEAD),
    "llama": ("Llama", {}),
    "mistral": ("Mistral", _HEAD),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "nemotron": ("Nemotron", {}),
    "olmoe": ("Olmoe", _EXPERTS),
    "phi": ("Phi", {}),
    "phi3": ("Phi3", {"pad_token_id": 0}),
    "qwen2": ("Qwen2", {}),
    "qwen2_moe": (
        "Qwen2Moe",
        {**_EXPERTS, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 64, "decoder_sparse_step": 1},
    ),
    "qwen3": ("Qwen3", _HEAD),
    "qwen3_moe": (
        "Qwen3Moe",
        {**_EXPERTS, **_HEAD, "moe_intermediate_size": 64, "decoder_sparse_step": 1, "norm_topk_prob": True},
    ),
    "stablelm": ("StableLm", {}),
}
"""transformers' names of a family's classes, and what its configuration needs beside the sizes."""


def make(folder: Path, family: str) -> Any:
    """Save a random model of a family with a tokenizer that works, in `folder`, and return it in float32."""
    import torch
    import transformers

    torch.manual_seed(0)
    name, more = SETTINGS[family]
    make_checkpoint(folder, "llama")
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    for path in (folder / "config.json", *folder.glob("generation_config.json"), *folder.glob("*.safetensors*")):
        path.unlink()
    settings = getattr(transformers, f"{name}Config")(**{**SIZES, "vocab_size": vocabulary, **more})
    model = getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM")(settings).to(torch.bfloat16)
    saved = folder / "saved"
    model.save_pretrained(saved)
    for path in saved.iterdir():
        shutil.move(path, folder / path.name)
    saved.rmdir()
    return model.float().eval()
