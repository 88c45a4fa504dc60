"""Models in several files: what the steps write, and that what they read may lie in several as well."""

from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import convert, tensor_bytes
from gguf_parts import ours, peer, tiny
from gguf_parts.builds import build

from modelmill import Facts, Job, Limits, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.testing import make_checkpoint
from modelmill_gguf import model, offers, split
from modelmill_gguf.fields import value
from modelmill_gguf.fused_record import FUSED, FusedOptions
from modelmill_gguf.header import read_header
from modelmill_gguf.imatrix_record import MAKE_IMATRIX, ImatrixOptions
from modelmill_gguf.options import ConvertOptions
from modelmill_gguf.quantize_record import QUANTIZER
from modelmill_gguf.to_huggingface import TO_HUGGINGFACE
from reference import llama

SIZE = "20K"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), "llama", dtype="F32")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    return convert(checkpoint, tmp_path_factory.mktemp("whole") / "out", "F32")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    options = ConvertOptions(split_max_size=SIZE)
    return convert(checkpoint, tmp_path_factory.mktemp("parts") / "out", "F32", options)


def run(record: Any, source: Path, out: Path, scheme: str, options: Any, **inputs: Path) -> Path:
    out.mkdir()
    limits = Limits(threads=2, scratch=out.with_name(f"{out.name}-scratch"))
    job = Job(source=source, inputs=inputs, out=out, scheme=scheme, options=options, hardware=None, limits=limits)
    if record is MAKE_IMATRIX:
        llama.isolated(record.run, job)  # the quantizer's ggml is in this process
    else:
        record.run(job)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def joined(folder: Path) -> dict[str, Any]:
    return {name: entry for path in sorted(folder.iterdir()) for name, entry in tensor_bytes(path).items()}


def test_a_quantized_model_is_split_as_foretold_and_holds_the_same(tmp_path: Path, whole: Path) -> None:
    options = ours.QuantizeOptions(split_max_size=SIZE)
    ours.quantize(whole, tmp_path / "one", "Q8_0")
    out = run(QUANTIZER, whole, tmp_path / "several", "Q8_0", options)
    count = len(list(out.iterdir()))
    assert count > 2
    assert [path.name for path in sorted(out.iterdir())] == [split.file_name(at, count) for at in range(count)]
    assert joined(out) == tensor_bytes(tmp_path / "one" / "model.gguf")
    first = read_header(out / split.file_name(0, count)).fields
    expected = read_header(tmp_path / "one" / "model.gguf").fields
    assert {key: field for key, field in first.items() if key not in split.KEYS} == expected
    for path in sorted(out.iterdir())[1:]:
        assert read_header(path).fields.keys() == split.KEYS
    foretold = QUANTIZER.infer(Outlook(facts=model.facts(whole), scheme="Q8_0", options=options))
    assert isinstance(foretold, Facts)
    assert dict(foretold.files) == sizes(out)
    assert model.facts(out).tensors == foretold.tensors


def test_the_fused_way_splits_as_the_chain_does(tmp_path: Path, checkpoint: Path, parts: Path) -> None:
    chain = run(QUANTIZER, parts, tmp_path / "chain", "Q4_K_M", ours.QuantizeOptions(split_max_size=SIZE))
    options = FusedOptions(split_max_size=SIZE)
    fused = run(FUSED, checkpoint, tmp_path / "fused", "Q4_K_M", options)
    assert len(contents(fused)) > 1
    assert contents(fused) == contents(chain)
    foretold = FUSED.infer(Outlook(facts=facts(checkpoint), scheme="Q4_K_M", options=options))
    assert isinstance(foretold, Facts)
    assert dict(foretold.files) == sizes(fused)


def test_llama_cpp_loads_a_split_model_that_was_quantized(tmp_path: Path, whole: Path) -> None:
    one = ours.quantize(whole, tmp_path / "one", "Q8_0")
    out = run(QUANTIZER, whole, tmp_path / "several", "Q8_0", ours.QuantizeOptions(split_max_size=SIZE))
    ids = list(range(20))
    assert (llama.logits(min(out.iterdir()), ids) == llama.logits(one, ids)).all()


def test_a_split_model_is_quantized_as_the_whole_one_is(tmp_path: Path, whole: Path, parts: Path) -> None:
    found = ours.quantize(parts, tmp_path / "parts", "Q4_K_M").read_bytes()
    assert found == ours.quantize(whole, tmp_path / "whole", "Q4_K_M").read_bytes()
    assert peer.quantize(min(parts.iterdir()), tmp_path / "theirs.gguf", "Q4_K_M")
    assert found == (tmp_path / "theirs.gguf").read_bytes()


def test_a_split_model_goes_back_to_a_checkpoint_as_the_whole_one_does(
    tmp_path: Path, whole: Path, parts: Path
) -> None:
    made = [
        contents(run(TO_HUGGINGFACE, source, tmp_path / name, "F32", TO_HUGGINGFACE.options()))
        for name, source in (("whole", whole), ("parts", parts))
    ]
    assert made[0] == made[1]


def test_a_split_model_gives_the_importances_of_the_whole_one(tmp_path: Path, whole: Path, parts: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "foxes.txt").write_text("The quick brown fox jumps over the lazy dog. " * 20)
    options = ImatrixOptions(context=64, chunks=2)
    made = [
        contents(run(MAKE_IMATRIX, source, tmp_path / name, "gguf", options, calibration=tmp_path / "text"))
        for name, source in (("whole", whole), ("parts", parts))
    ]
    assert made[0] == made[1]


def test_a_model_with_an_alignment_of_its_own_is_split(tmp_path: Path) -> None:
    import gguf

    (tmp_path / "source").mkdir()
    plain = tiny.write(tmp_path / "plain.gguf", tiny.Tiny(layers=2))
    reader = gguf.GGUFReader(plain)
    writer = gguf.GGUFWriter(tmp_path / "source" / "source.gguf", "llama")
    writer.add_custom_alignment(128)
    for key, field in reader.fields.items():
        if key.startswith("llama.") or key == "general.file_type":
            writer.add_key_value(key, field.contents(), field.types[0])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    options = ours.QuantizeOptions(split_max_size="2K")
    out = run(QUANTIZER, tmp_path / "source", tmp_path / "out", "Q8_0", options)
    one = ours.quantize(tmp_path / "source", tmp_path / "one", "Q8_0")
    assert joined(out) == tensor_bytes(one)
    assert value(read_header(min(out.iterdir())).fields["general.alignment"]) == 128
    foretold = QUANTIZER.infer(Outlook(facts=model.facts(tmp_path / "source"), scheme="Q8_0", options=options))
    assert isinstance(foretold, Facts)
    assert dict(foretold.files) == sizes(out)


@pytest.mark.parametrize("record", [QUANTIZER, FUSED, offers.FROM_HUGGINGFACE], ids=lambda record: record.name)
def test_a_split_size_that_is_none_is_refused(record: Any, checkpoint: Path, whole: Path) -> None:
    known = model.facts(whole) if record is QUANTIZER else facts(checkpoint)
    scheme = "F16" if record is offers.FROM_HUGGINGFACE else "Q8_0"
    found = record.infer(Outlook(facts=known, scheme=scheme, options=record.options(split_max_size="2 GB")))
    assert isinstance(found, Refusal)
    assert "split_max_size is '2 GB'; it must be a number of bytes" in found.reason


TARGETS = """
[target.last]
scheme = "Q8_0"
options = { gguf-quantize = { split_max_size = "20K" } }
[target.first]
scheme = "Q8_0"
options = { huggingface-to-gguf = { split_max_size = "20K" } }
"""


def test_a_build_splits_what_the_option_is_said_of_and_no_more(tmp_path: Path, checkpoint: Path) -> None:
    build(tmp_path, TARGETS, checkpoint=str(checkpoint))
    found = tmp_path / "dist" / "tiny" / "1"
    assert [path.name for path in sorted((found / "first").glob("*.gguf"))] == ["tiny-Q8_0.gguf"]
    several = sorted((found / "last").glob("*.gguf"))
    count = len(several)
    assert count > 2
    assert [path.name for path in several] == [f"tiny-Q8_0-{at + 1:05d}-of-{count:05d}.gguf" for at in range(count)]
    whole = tensor_bytes(found / "first" / "tiny-Q8_0.gguf")
    assert {name: entry for path in several for name, entry in tensor_bytes(path).items()} == whole
