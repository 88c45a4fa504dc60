"""Ternary models of other classes: known by their weights, cut only where they are ternary, right in llama.cpp."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bitnet_parts.models import (
    SCALE,
    SHAPE,
    Tensors,
    codes_of,
    configure,
    convert,
    edit,
    infer,
    measure,
    other,
    packed,
)

from modelmill import ConvertError, Facts, Refusal
from modelmill.checkpoint import linear_layers, open_checkpoint, sampled_ternary_distance
from modelmill_bitnet.detection import distance, examine, read
from modelmill_bitnet.formats import unpack_tq1_0, unpack_tq2_0
from modelmill_gguf.api import read_header
from reference import llama

SCHEMES = {"TQ1_0": unpack_tq1_0, "TQ2_0": unpack_tq2_0}
LAYER = "model.layers.0.mlp.down_proj.weight"


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore")  # torch's and transformers' own
def test_llama_cpp_answers_as_transformers_does(tmp_path: Path, architecture: str, scheme: str) -> None:
    source = other(tmp_path / "source", architecture)
    tokens = [1, *range(20, 60)]
    found, expected = llama.logits(convert(source, tmp_path, scheme), tokens), transformers_logits(source, tokens)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= 0.999


def transformers_logits(source: Path, tokens: list[int]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_values_and_scales_come_back_exactly_and_every_form_gives_the_same_file(tmp_path: Path, scheme: str) -> None:
    forms = {
        "plain": other(tmp_path / "plain" / "source"),
        "bitlinear": packed(tmp_path / "bitlinear" / "source", "bitlinear", made=other),
        "autobitlinear": packed(tmp_path / "autobitlinear" / "source", "autobitlinear", made=other),
    }
    files = {name: convert(source, tmp_path / name, scheme) for name, source in forms.items()}
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files.values()}) == 1
    content = files["plain"].read_bytes()
    tensors = {
        info.name: content[info.offset : info.offset + info.size] for info in read_header(files["plain"]).tensors
    }
    codes = SCHEMES[scheme](np.frombuffer(tensors["blk.0.ffn_down.weight"], np.uint8))
    assert np.array_equal(codes, codes_of(LAYER, (SHAPE.hidden, SHAPE.intermediate)).reshape(-1))
    assert np.frombuffer(tensors["blk.0.ffn_down.scale"], "<f4") == SCALE


def test_a_model_that_is_not_ternary_is_refused_with_what_was_measured(tmp_path: Path) -> None:
    source = other(tmp_path / "source", ternary=False)
    assert isinstance(infer(source), Facts)  # only the weights know
    with pytest.raises(ConvertError, match=r"not trained ternary.*'model.layers.0.mlp.down_proj.weight' lies 4\d\.\d%"):
        convert(source, tmp_path, "TQ2_0")
    assert read(tmp_path / "ternary" / "out").measured == 1


def test_one_layer_that_is_not_ternary_is_found(tmp_path: Path) -> None:
    name = "model.layers.1.self_attn.v_proj.weight"

    def change(tensors: Tensors) -> None:
        dtype, shape, data = tensors[name]
        values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        tensors[name] = (dtype, shape, (values.view(np.uint32) >> 16).astype("<u2").tobytes())
        assert len(tensors[name][2]) == len(data)

    source = other(tmp_path / "source")
    edit(source, change)
    report = examine(source)
    assert (report.ternary, report.layer, report.measured) == (False, name, 14)


def test_what_its_maker_rounded_is_ternary_within_the_tolerance(tmp_path: Path) -> None:
    def change(tensors: Tensors) -> None:
        dtype, shape, data = tensors[LAYER]
        bits = np.frombuffer(data, "<u2").copy()
        bits[::2] += (bits[::2] != 0).astype("<u2")  # the next BF16 of half the values
        tensors[LAYER] = (dtype, shape, bits.tobytes())

    source = other(tmp_path / "source")
    edit(source, change)
    report = examine(source)
    assert report.ternary
    assert report.layer == LAYER
    assert report.distance == pytest.approx(0.0039, abs=0.0003)
    convert(source, tmp_path, "TQ2_0")


def test_weights_that_are_no_numbers_are_not_ternary(tmp_path: Path) -> None:
    def change(tensors: Tensors) -> None:
        dtype, shape, data = tensors[LAYER]
        tensors[LAYER] = (dtype, shape, b"\xc0\x7f" + data[2:])

    source = other(tmp_path / "source")
    edit(source, change)
    with pytest.raises(ConvertError, match="holds a value that is not finite"):
        convert(source, tmp_path, "TQ2_0")


def test_a_sample_of_a_layer_says_about_what_all_of_it_does(tmp_path: Path) -> None:
    for dtype in ("BF16", "F32"):
        values = np.random.default_rng(0).normal(size=(256, 300)).astype(np.float32)
        raw = memoryview(values.tobytes() if dtype == "F32" else (values.view(np.uint32) >> 16).astype("<u2").tobytes())
        assert sampled_ternary_distance(raw, dtype) == pytest.approx(distance(raw, dtype), rel=0.1)
    with open_checkpoint(other(tmp_path / "source")) as weights:
        (tensor, *_) = linear_layers(weights.tensors)
        assert sampled_ternary_distance(weights.raw(tensor.name), tensor.dtype) == 0


def test_what_the_configuration_says_is_not_measured(tmp_path: Path) -> None:
    report = read(measure(packed(tmp_path / "source", "bitlinear", made=other), tmp_path))
    assert (report.ternary, report.declared, report.measured) == (
        True,
        "config.json has the quant_method 'bitnet'",
        0,
    )


def test_an_experiment_is_marked(tmp_path: Path) -> None:
    source = other(tmp_path / "source", ternary=False)
    predicted = infer(source, experimental=True)
    assert isinstance(predicted, Facts)
    assert predicted.details["experimental"] is True
    assert convert(source, tmp_path, "TQ2_0", experimental=True).stat().st_size == sum(predicted.files.values())


@pytest.mark.parametrize("architecture", ["qwen2", "gemma3"])
def test_where_llama_cpp_would_ignore_the_scale_it_is_refused(tmp_path: Path, architecture: str) -> None:
    refusal = infer(other(tmp_path / "source", architecture))
    assert isinstance(refusal, Refusal)
    assert f"ignores it in {architecture}" in refusal.reason


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tensors: tensors.pop(f"{LAYER}_scale"), f"lacks the tensor '{LAYER}_scale'"),
        (lambda tensors: tensors.update({f"{LAYER}_scale": ("F32", (2,), bytes(8))}), "but a layer has one scale"),
        (lambda tensors: tensors.update({LAYER: ("U8", (1, 512), bytes(512))}), r"has the shape \[4, 512\]"),
        (lambda tensors: tensors.update({LAYER: ("BF16", (256, 512), bytes(1 << 18))}), "is BF16, where the layers"),
    ],
)
def test_packed_tensors_that_do_not_fit_are_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    source = packed(tmp_path / "source", "bitlinear", made=other)
    edit(source, change)
    refusal = infer(source)
    assert isinstance(refusal, Refusal)
    with pytest.raises(ConvertError, match=sentence):
        convert(source, tmp_path, "TQ2_0")


def test_another_quantization_is_refused(tmp_path: Path) -> None:
    source = other(tmp_path / "source")
    configure(source, quantization_config={"quant_method": "awq"})
    refusal = infer(source)
    assert isinstance(refusal, Refusal)
    assert "the quant_method is 'awq'" in refusal.reason
