"""An importance matrix as builds use it: a step like any other, made from a text, or a file that somebody has."""

import re
from pathlib import Path

import numpy as np
import pytest
from gguf_conversions import convert, tensor_bytes
from gguf_parts import tiny
from gguf_parts.builds import TARGET, build, refused

from modelmill.testing import make_checkpoint
from modelmill_gguf.header import read_header

TEXT = "The quick brown fox jumps over the lazy dog, and nobody knows why. " * 12
CONVERT, MEASURE, QUANTIZE = "huggingface-to-gguf", "gguf-to-imatrix", "gguf-quantize"
FROM_TEXT = '[source.text]\nuri = "foxes.txt"\n' + TARGET.format(name="small", scheme="Q4_0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_checkpoint(tmp_path / "checkpoint", "llama")
    (tmp_path / "foxes.txt").write_text(TEXT)
    return tmp_path


def steps(folder: Path, text: str) -> list[str]:
    """Build; the records of the steps that ran."""
    return sorted(re.findall(r"^  (\S+) .*…$", build(folder, text), re.MULTILINE))


def made(folder: Path, target: str) -> Path:
    (file,) = (folder / "dist" / "tiny" / "1" / target).glob("*.gguf")
    return file


@pytest.mark.parametrize(
    ("data", "sentence"), [("Straße".encode("latin-1"), "is not UTF-8"), (b" \n", "holds no text")]
)
def test_a_plan_refuses_a_text_that_is_none(folder: Path, data: bytes, sentence: str) -> None:
    (folder / "foxes.txt").write_bytes(data)
    assert f"source 'text': foxes.txt: {sentence}" in refused(folder, FROM_TEXT)


def test_a_matrix_is_made_of_a_text_once_and_anew_when_the_text_changes(folder: Path) -> None:
    assert steps(folder, FROM_TEXT) == [QUANTIZE, MEASURE, CONVERT]
    first = made(folder, "small").read_bytes()
    assert steps(folder, FROM_TEXT) == []
    assert steps(folder, FROM_TEXT + TARGET.format(name="other", scheme="Q5_1")) == [QUANTIZE]
    (folder / "foxes.txt").write_text(TEXT.replace("fox", "cat"))
    assert steps(folder, FROM_TEXT) == [QUANTIZE, MEASURE]
    assert made(folder, "small").read_bytes() != first
    (folder / "foxes.txt").write_text(TEXT)
    assert steps(folder, FROM_TEXT) == []
    assert made(folder, "small").read_bytes() == first
    assert read_header(made(folder, "small")).fields.keys() >= {"quantize.imatrix.dataset", "quantize.imatrix.file"}


def test_a_file_in_either_of_llama_cpps_formats_gives_the_same_tensors(folder: Path) -> None:
    file = convert(folder / "checkpoint", folder / "converted", "BF16") / "model.gguf"
    random = np.random.default_rng(1)
    means = {
        info.name: random.uniform(0.1, 2, info.shape[-1]).astype(np.float32)
        for info in read_header(file).tensors
        if info.name.startswith("blk.") and len(info.shape) > 1
    }
    tiny.write_imatrix(folder / "new.gguf", means)
    tiny.write_legacy_imatrix(folder / "old.dat", means)
    targets = ['[target.without]\nscheme = "Q4_0"\n']
    for name, uri in (("new", "new.gguf"), ("old", "old.dat")):
        targets.append(f'[source.{name}]\nuri = "{uri}"\n')
        targets.append(f'[target.{name}]\nscheme = "Q4_0"\ninputs = {{ imatrix = "{name}" }}\n')
    build(folder, "".join(targets))
    new, old, without = (tensor_bytes(made(folder, name)) for name in ("new", "old", "without"))
    assert new == old
    assert new.keys() == without.keys()
    assert {name for name in new if new[name] != without[name]} == means.keys()
