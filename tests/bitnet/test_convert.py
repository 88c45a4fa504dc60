"""BitNet checkpoints in llama.cpp: the same answers as transformers, the same file from every form of one model."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bitnet_parts.models import FORMS, SCALE, SHAPE, codes_of, convert, infer, master

from modelmill import Facts
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_bitnet.formats import unpack_tq1_0, unpack_tq2_0
from modelmill_gguf.api import read_header
from reference import llama

SCHEMES = ("TQ1_0", "TQ2_0")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_form_of_a_model_gives_the_same_file(tmp_path: Path, scheme: str) -> None:
    digests = set()
    for name, make in FORMS.items():
        file = convert(make(tmp_path / name / "source"), tmp_path / name, scheme)
        digests.add(hashlib.sha256(file.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
def test_llama_cpp_answers_as_transformers_does(tmp_path: Path, scheme: str) -> None:
    source = master(tmp_path / "source")
    tokens = [1, *range(20, 60)]
    found = llama.logits(convert(source, tmp_path, scheme), tokens)
    expected = transformers_logits(source, tokens)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= 0.999


def transformers_logits(source: Path, tokens: list[int]) -> Any:
    """With transformers' own layers: ternary weights from the master weights, activations of 8 bits."""
    import torch
    from torch import _dynamo
    from transformers import AutoModelForCausalLM
    from transformers.integrations.bitnet import AutoBitLinear

    _dynamo.config.disable = True
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    for name, module in list(model.named_modules()):
        if name.endswith("_proj"):
            layer = AutoBitLinear(module.in_features, module.out_features, bias=False, online_quant=True)
            layer.weight = module.weight
            model.set_submodule(name, layer)
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


@pytest.mark.parametrize(("scheme", "unpack"), [("TQ1_0", unpack_tq1_0), ("TQ2_0", unpack_tq2_0)])
def test_values_and_scales_come_back_exactly(tmp_path: Path, scheme: str, unpack: Any) -> None:
    file = convert(master(tmp_path / "source"), tmp_path, scheme)
    content = file.read_bytes()
    tensors = {info.name: content[info.offset : info.offset + info.size] for info in read_header(file).tensors}
    source_name, shape = "model.layers.1.mlp.down_proj.weight", (SHAPE.hidden, SHAPE.intermediate)
    codes = unpack(np.frombuffer(tensors["blk.1.ffn_down.weight"], np.uint8))
    assert np.array_equal(codes.reshape(shape), codes_of(source_name, shape))
    assert np.frombuffer(tensors["blk.1.ffn_down.scale"], "<f4") == SCALE


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore")
def test_widths_that_no_block_divides_are_held_exactly_and_said(tmp_path: Path, scheme: str) -> None:
    source = master(tmp_path / "source", Shape(hidden=256, intermediate=320, layers=1, heads=4, kv_heads=2))
    predicted = infer(source, scheme)
    assert isinstance(predicted, Facts)
    told = "their rows do not divide into blocks of 256 values, so F16 holds them, exactly"
    assert predicted.details["exceptions"] == {told: ["blk.0.ffn_down.weight"]}
    file = convert(source, tmp_path, scheme)
    (info,) = (each for each in read_header(file).tensors if each.name == "blk.0.ffn_down.weight")
    values = np.frombuffer(file.read_bytes()[info.offset : info.offset + info.size], "<f2")
    assert np.array_equal(values.reshape(256, 320) + 1, codes_of("model.layers.0.mlp.down_proj.weight", (256, 320)))
    tokens = list(range(20, 40))
    found, expected = llama.logits(file, tokens), transformers_logits(source, tokens)
    assert (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected) >= 0.999


@pytest.mark.parametrize("form", FORMS)
def test_prediction_is_exact(tmp_path: Path, form: str) -> None:
    from modelmill_gguf import modelmill_formats

    (format_,) = (each for each in modelmill_formats() if each.name == "gguf")
    source = FORMS[form](tmp_path / "source")
    predicted = infer(source)
    assert isinstance(predicted, Facts)
    file = convert(source, tmp_path, "TQ2_0")
    format_.validate(file.parent)
    found = format_.facts(file.parent)
    assert (predicted.tensors, predicted.files, predicted.scheme) == (found.tensors, found.files, found.scheme)
    assert predicted.architecture == found.architecture
    # What packed weights went through stays what their checkpoint says: nothing is lost on the way.
    assert predicted.quantization == ("bitnet" if form.endswith("bitlinear") else found.quantization)


@pytest.mark.parametrize(("family", "kind"), [("llama-3", "gpt2"), ("llama-2", "llama")])
def test_llama_3s_bpe_and_sentencepiece_tokenize_in_llama_cpp_as_before(tmp_path: Path, family: str, kind: str) -> None:
    from tokenizers import Tokenizer

    config = {"hidden_act": "silu"}
    source = make_checkpoint(tmp_path / "source", "bitnet", shape=SHAPE, tokenizer=family, config=config)
    assert (source / "tokenizer.model").exists() == (kind == "llama")
    file = convert(source, tmp_path, "TQ2_0")
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    with llama.loaded(file) as model:
        assert model.metadata["tokenizer.ggml.model"] == kind
        for text in ("The quick brown fox", "  two  spaces\n", "don't 12345"):
            ours = model.tokenize(text.encode(), add_bos=False, special=True)
            assert ours == tokenizer.encode(text, add_special_tokens=False).ids, text
