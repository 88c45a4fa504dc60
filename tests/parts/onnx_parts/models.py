"""Tiny causal language models of transformers' own classes, as checkpoints."""

import json
import shutil
from pathlib import Path
from typing import Any

from modelmill.testing.checkpoints import make_checkpoint


def make_model(folder: Path, name: str, **config: Any) -> Path:
    """A checkpoint of a class of transformers, with random weights, norms that are not all ones, and a tokenizer."""
    import torch
    import transformers

    words = make_checkpoint(folder.parent / f"{folder.name}-words", "llama")
    model_class: Any = getattr(transformers, name)
    sizes = {
        "vocab_size": json.loads((words / "config.json").read_text())["vocab_size"],
        "hidden_size": 128,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    model = model_class(model_class.config_class(**{**sizes, **config})).eval()
    with torch.no_grad():
        for values in model.parameters():
            values.copy_(values + 0.1 * torch.randn_like(values) if values.dim() == 1 else 2 * values)
    model.save_pretrained(folder)
    for path in words.glob("tokenizer*"):
        shutil.copyfile(path, folder / path.name)
    return folder
