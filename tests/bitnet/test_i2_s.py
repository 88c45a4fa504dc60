"""Files for bitnet.cpp: the layout that the CPU needs, exact values, and what cannot be."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from bitnet_parts.models import FORMS, SCALE, codes_of, convert, infer, master

from modelmill import ConvertError, Facts, Refusal
from modelmill.testing.architectures import Shape
from modelmill_bitnet.offers import FORMAT

LAYOUTS = {"amd64": "x86-act-parallel", "arm64": "arm-neon"}


@pytest.mark.parametrize("cpu", LAYOUTS)
def test_every_form_gives_the_same_file_in_the_layout_of_the_cpu(tmp_path: Path, cpu: str) -> None:
    digests = set()
    for name, make in FORMS.items():
        source = make(tmp_path / name / "source")
        file = convert(source, tmp_path / name, "I2_S", cpu=cpu)
        digests.add(hashlib.sha256(file.read_bytes()).hexdigest())
        FORMAT.validate(file.parent)
        predicted, found = infer(source, "I2_S", cpu=cpu), FORMAT.facts(file.parent)
        assert isinstance(predicted, Facts)
        assert (predicted.tensors, predicted.files) == (found.tensors, found.files)
        assert (predicted.scheme, predicted.architecture) == (found.scheme, found.architecture)
        assert predicted.details["I2_S"] == found.details["I2_S"] == LAYOUTS[cpu]
    assert len(digests) == 1


@pytest.mark.parametrize("cpu", LAYOUTS)
def test_values_come_back_exactly(tmp_path: Path, cpu: str) -> None:
    shape = Shape(hidden=256, intermediate=384, layers=1, heads=4, kv_heads=2)
    file = convert(master(tmp_path / "source", shape), tmp_path, "I2_S", cpu=cpu)
    assert FORMAT.tensors is not None
    found = {data.tensor.name: data.values() for data in FORMAT.tensors(file.parent)}
    codes = codes_of("model.layers.0.mlp.down_proj.weight", (256, 384)).astype(np.float32)
    assert np.array_equal(found["blk.0.ffn_down.weight"], (codes - 1) * np.float32(SCALE))


def test_the_option_goes_before_the_hardware(tmp_path: Path) -> None:
    file = convert(master(tmp_path / "source"), tmp_path, "I2_S", cpu="amd64", layout="arm-neon")
    assert FORMAT.facts(file.parent).details == {"I2_S": "arm-neon"}


@pytest.mark.parametrize(("activation", "architecture"), [("silu", "bitnet"), ("relu2", "bitnet-b1.58")])
def test_the_architecture_tells_the_activation(tmp_path: Path, activation: str, architecture: str) -> None:
    file = convert(master(tmp_path / "source", hidden_act=activation), tmp_path, "I2_S", cpu="amd64")
    assert FORMAT.facts(file.parent).architecture == architecture


def test_another_cpu_is_refused(tmp_path: Path) -> None:
    refusal = infer(master(tmp_path / "source"), "I2_S", cpu="riscv64")
    assert isinstance(refusal, Refusal)
    assert "set options = { layout = ... } to one of x86-act-parallel, arm-neon" in refusal.reason


def test_rows_that_no_block_divides_are_refused(tmp_path: Path) -> None:
    source = master(tmp_path / "source", Shape(hidden=256, intermediate=320, layers=1, heads=4, kv_heads=2))
    refusal = infer(source, "I2_S", cpu="amd64")
    assert isinstance(refusal, Refusal)
    assert (
        "rows of 320, which do not divide into blocks of 128: I2_S (x86-act-parallel) cannot hold it" in refusal.reason
    )
    assert isinstance(infer(source, "I2_S", cpu="arm64"), Facts)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [(b"\xff", "the code 3"), (None, "a scale is a positive number")],
)
def test_damaged_tensors_are_found(tmp_path: Path, wrong: bytes | None, sentence: str) -> None:
    file = convert(master(tmp_path / "source"), tmp_path, "I2_S", cpu="amd64")
    assert FORMAT.tensors is not None
    raw = next(bytes(data.raw) for data in FORMAT.tensors(file.parent) if data.tensor.dtype == "I2_S")
    damaged = wrong + raw[1:] if wrong else raw[:-32] + bytes(32)
    file.write_bytes(file.read_bytes().replace(raw, damaged))
    with pytest.raises(ConvertError, match=sentence):
        FORMAT.validate(file.parent)


def test_llama_cpps_files_are_not_of_this_format(tmp_path: Path) -> None:
    file = convert(master(tmp_path / "source"), tmp_path, "TQ2_0")
    assert not FORMAT.detect(file.parent)
    with pytest.raises(ConvertError, match="no tensor of type I2_S"):
        FORMAT.validate(file.parent)
