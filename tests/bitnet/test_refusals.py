"""What is not ternary, or would be computed wrongly, is refused in a sentence before its weights are read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bitnet_parts.models import Tensors, configure, convert, edit, infer, master, packed

from modelmill import ConvertError, Refusal
from modelmill.testing.checkpoints import make_checkpoint

PACKED = "model.layers.0.self_attn.q_proj.weight"


def refused(source: Path, tmp_path: Path, sentence: str) -> None:
    refusal = infer(source)
    assert isinstance(refusal, Refusal)
    with pytest.raises(ConvertError, match=sentence) as caught:
        convert(source, tmp_path, "TQ2_0")
    assert str(caught.value) == refusal.reason
    assert "\n" not in refusal.reason


def test_i2_s_is_made_of_bitnet_alone(tmp_path: Path) -> None:
    refusal = infer(make_checkpoint(tmp_path / "source", "llama"), "I2_S", cpu="amd64")
    assert isinstance(refusal, Refusal)
    assert "names LlamaForCausalLM, and BitNetForCausalLM is wanted" in refusal.reason
    assert 'format = "gguf"' in refusal.reason


def test_relu2_which_llama_cpp_would_compute_wrongly(tmp_path: Path) -> None:
    source = master(tmp_path / "source", hidden_act="relu2")
    refused(source, tmp_path, "hidden_act is 'relu2'.* bitnet.cpp")


def test_relu2_is_what_transformers_assumes(tmp_path: Path) -> None:
    source = master(tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    del config["hidden_act"]
    (source / "config.json").write_text(json.dumps(config))
    refused(source, tmp_path, "hidden_act is 'relu2'")


def test_a_rope_that_llama_cpp_does_not_stretch(tmp_path: Path) -> None:
    source = master(tmp_path / "source", hidden_act="silu", rope_scaling={"rope_type": "dynamic", "factor": 2.0})
    refused(source, tmp_path, "the rope scaling 'dynamic' has no counterpart in llama.cpp's bitnet")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"quant_method": "bitnet", "linear_class": "bitlinear2"}, "linear_class is 'bitlinear2'"),
        ({"quant_method": "awq"}, "the quant_method is 'awq'"),
        ({"quant_method": "bitnet", "use_rms_norm": True}, "use_rms_norm"),
    ],
)
def test_a_form_that_is_not_known(tmp_path: Path, entry: dict[str, object], sentence: str) -> None:
    source = packed(tmp_path / "source", "bitlinear")
    configure(source, quantization_config=entry)
    refused(source, tmp_path, sentence)


def without(name: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors.pop(name)

    return change


def beside(tensors: Tensors) -> None:
    tensors["model.layers.0.mlp.router.weight"] = ("BF16", (1, 1), b"\0\0")


def reshaped(tensors: Tensors) -> None:
    dtype, shape, data = tensors[PACKED]
    tensors[PACKED] = (dtype, (shape[1], shape[0]), data)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            reshaped,
            r"q_proj.weight' has the shape \[256, 64\], but config.json makes it \[256, 256\], \[64, 256\] when",
        ),
        (without(f"{PACKED}_scale"), "lacks the tensor 'model.layers.0.self_attn.q_proj.weight_scale'"),
        (without("model.norm.weight"), "lacks the tensor 'model.norm.weight'"),
        (beside, "'model.layers.0.mlp.router.weight' has no place"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, change: Callable[[Tensors], None], sentence: str) -> None:
    source = packed(tmp_path / "source", "bitlinear")
    edit(source, change)
    refused(source, tmp_path, sentence)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_that_is_none(tmp_path: Path, scale: float) -> None:
    source = packed(tmp_path / "source", "autobitlinear")

    def change(tensors: Tensors) -> None:
        tensors[f"{PACKED}_scale"] = ("F32", (1,), np.array(scale, "<f4").tobytes())

    edit(source, change)
    with pytest.raises(ConvertError, match=r"q_proj.weight_scale' holds .*; a scale is a positive number"):
        convert(source, tmp_path, "TQ2_0")


def test_a_packed_value_that_is_none(tmp_path: Path) -> None:
    source = packed(tmp_path / "source", "bitlinear")

    def change(tensors: Tensors) -> None:
        dtype, shape, data = tensors[PACKED]
        tensors[PACKED] = (dtype, shape, b"\xff" + data[1:])

    edit(source, change)
    with pytest.raises(ConvertError, match=r"q_proj.weight': the packed weights hold the code 3"):
        convert(source, tmp_path, "TQ2_0")


def test_master_weights_that_are_no_numbers(tmp_path: Path) -> None:
    source = master(tmp_path / "source")

    def change(tensors: Tensors) -> None:
        dtype, shape, data = tensors[PACKED]
        tensors[PACKED] = (dtype, shape, b"\xc0\x7f" + data[2:])

    edit(source, change)
    with pytest.raises(ConvertError, match=r"q_proj.weight' holds a value that is not finite"):
        convert(source, tmp_path, "TQ2_0")
