"""Tiny encoders: as checkpoints, and as the ONNX folder that an export of the simplest one would leave."""

import json
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(95))]
WIDTH = 32
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def make_encoder(folder: Path, name: str = "BertModel", seed: int = 0, **config: Any) -> Path:
    """A checkpoint of an encoder's class of transformers, with random weights and a tokenizer of words."""
    import torch
    import transformers

    model_class: Any = getattr(transformers, name)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": WIDTH}
    names = {**sizes, "vocab_size": len(VOCABULARY), "max_position_embeddings": 66, **config}
    torch.manual_seed(seed)
    model_class(model_class.config_class(**names)).eval().save_pretrained(folder)
    make_tokenizer(folder)
    return folder


def make_tokenizer(folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))


def make_onnx_encoder(folder: Path, seed: int = 0) -> Path:
    """An ONNX folder of a table of words and two matrices, under the names that an export gives."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    chance = np.random.default_rng(seed)
    shapes = {"embeddings.word_embeddings.weight": (100, WIDTH), "up": (WIDTH, 64), "down": (64, WIDTH)}
    weights = [
        numpy_helper.from_array(chance.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Gather", ["embeddings.word_embeddings.weight", "input_ids"], ["embedded"], name="look"),
        helper.make_node("MatMul", ["embedded", "up"], ["wide"], name="up"),
        helper.make_node("Tanh", ["wide"], ["bent"], name="bend"),
        helper.make_node("MatMul", ["bent", "down"], ["last_hidden_state"], name="down"),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("batch", "length"))],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ("batch", "length", WIDTH))],
        weights,
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    config = {"architectures": ["BertModel"], "model_type": "bert", "num_hidden_layers": 0}
    (folder / "config.json").write_text(json.dumps(config))
    make_tokenizer(folder)
    return folder


def outputs(folder: Path, ids: Any) -> Any:
    """The first output of an encoder's folder for token ids [batch, length], 0 being padding."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    given = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    return session.run(None, {item.name: given[item.name] for item in session.get_inputs()})[0]
