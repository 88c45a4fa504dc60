import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_conversions import BEYOND_ROPE, LLAMA3_ROPE, convert, predicted, tensor_bytes

from modelmill import ConvertError, Job, Limits, Tensor
from modelmill.checkpoint import facts
from modelmill.testing import make_checkpoint
from modelmill_gguf import offers
from modelmill_gguf.fields import Field, numbers, scalar, string, strings, uint32, value
from modelmill_gguf.fields import ValueType as Kind
from modelmill_gguf.header import read_header
from modelmill_gguf.options import ConvertOptions
from modelmill_gguf.writer import write

FORMAT = offers.FORMAT
REQUIRED = [
    string("general.architecture", "llama"),
    uint32("llama.block_count", 1),
    uint32("llama.context_length", 8),
    uint32("llama.embedding_length", 4),
    uint32("llama.attention.head_count", 1),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "llama", "llama")


def write_file(folder: Path, fields: list[Field], tensors: list[Tensor], data: list[bytes]) -> Path:
    limits = Limits(scratch=folder / "scratch")
    job = Job(source=folder, inputs={}, out=folder, scheme="F32", options=None, hardware=None, limits=limits)
    write(job, "model.gguf", fields=fields, tensors=tensors, data=[[each] for each in data])
    return folder / "model.gguf"


def test_a_folder_is_gguf_by_the_first_bytes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    assert not FORMAT.detect(tmp_path)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert FORMAT.detect(tmp_path)


def test_every_kind_of_field_is_read_as_it_was_written(tmp_path: Path) -> None:
    fields = [
        *(scalar(f"number.{kind.name}", kind, 1) for kind in Kind if kind not in (Kind.STRING, Kind.ARRAY)),
        string("text", "ünïcode \0 and zero"),
        strings("texts", ["", "a", "▁b"]),
        strings("nothing", []),
        numbers("numbers", Kind.FLOAT32, [1.5, -2.0]),
    ]
    header = read_header(write_file(tmp_path, fields, [], []))
    assert list(header.fields.values()) == fields
    assert value(header.fields["texts"]) == ["", "a", "▁b"]
    assert value(header.fields["text"]) == "ünïcode \0 and zero"


def test_the_gguf_package_reads_what_is_written(checkpoint: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    path = convert(checkpoint, tmp_path / "out", "F16") / "model.gguf"
    reader = GGUFReader(path)
    header = read_header(path)
    assert [(each.name, tuple(reversed(each.shape.tolist()))) for each in reader.tensors] == [
        (each.name, each.shape) for each in header.tensors
    ]
    assert reader.fields["tokenizer.ggml.tokens"].contents() == value(header.fields["tokenizer.ggml.tokens"])


def test_values_are_those_of_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    tensors = FORMAT.tensors
    assert tensors is not None
    wide = {each.tensor.name: np.array(each.values()) for each in tensors(convert(checkpoint, tmp_path / "a", "F32"))}
    same = {each.tensor.name: np.array(each.values()) for each in tensors(convert(checkpoint, tmp_path / "b", "BF16"))}
    assert wide.keys() == same.keys()
    assert all(np.array_equal(wide[name], same[name]) for name in wide)


def test_without_a_scheme_the_lossless_one_is_chosen(tmp_path: Path) -> None:
    for dtype in ("BF16", "F16", "F32"):
        assert predicted(make_checkpoint(tmp_path / dtype, "llama", dtype=dtype)).scheme == dtype


def test_shards_make_no_difference(checkpoint: Path, tmp_path: Path) -> None:
    sharded = make_checkpoint(tmp_path / "sharded", "llama", shards=3)
    one = convert(checkpoint, tmp_path / "one", "F16") / "model.gguf"
    many = convert(sharded, tmp_path / "many", "F16") / "model.gguf"
    assert one.read_bytes() == many.read_bytes()


def test_facts_of_the_file_are_the_predicted_ones(checkpoint: Path, tmp_path: Path) -> None:
    foretold = predicted(checkpoint, "F16")
    found = FORMAT.facts(convert(checkpoint, tmp_path / "out", "F16"))
    for name in ("format", "scheme", "architecture", "tensors", "quantization", "licence"):
        assert getattr(found, name) == getattr(foretold, name), name
    assert dict(found.files) == dict(foretold.files)
    assert found.details["gguf"] == foretold.details["gguf"]
    assert found.details["tokenizer"] == foretold.details["tokenizer"]


def test_split_files_hold_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    options = ConvertOptions(split_max_size="60K")
    whole = convert(checkpoint, tmp_path / "whole", "BF16")
    parts = convert(checkpoint, tmp_path / "parts", "BF16", options)
    names = sorted(path.name for path in parts.iterdir())
    assert names[0] == f"model-00001-of-{len(names):05d}.gguf"
    assert len(names) > 2
    FORMAT.validate(parts)
    assert FORMAT.facts(parts).tensors == FORMAT.facts(whole).tensors
    assert FORMAT.facts(parts).details == FORMAT.facts(whole).details
    assert {path.name: path.stat().st_size for path in parts.iterdir()} == dict(
        predicted(checkpoint, "BF16", options).files
    )
    joined = [each for name in names for each in tensor_bytes(parts / name).items()]
    assert dict(joined) == tensor_bytes(whole / "model.gguf")


def test_a_missing_split_file_is_missed(checkpoint: Path, tmp_path: Path) -> None:
    parts = convert(checkpoint, tmp_path / "parts", "BF16", ConvertOptions(split_max_size="100K"))
    sorted(parts.iterdir())[1].unlink()
    with pytest.raises(ConvertError, match=r"says that the model has \d files, but with it lie"):
        FORMAT.facts(parts)


def test_two_models_in_a_folder_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    out = convert(checkpoint, tmp_path / "out", "BF16")
    (out / "other.gguf").write_bytes((out / "model.gguf").read_bytes())
    with pytest.raises(
        ConvertError, match=r"Several models lie here \(model\.gguf, other\.gguf\), and one folder holds one model"
    ):
        FORMAT.facts(out)


@pytest.mark.parametrize("key", [field.key for field in REQUIRED])
def test_keys_that_llama_cpp_needs_are_missed(tmp_path: Path, key: str) -> None:
    fields = [field for field in REQUIRED if field.key != key]
    write_file(tmp_path, fields, [Tensor(name="t", dtype="F32", shape=(4,))], [bytes(16)])
    with pytest.raises(ConvertError, match=f"lacks {key}"):
        FORMAT.validate(tmp_path)


def test_a_vocabulary_of_another_size_than_the_embedding_is_refused(tmp_path: Path) -> None:
    fields = [*REQUIRED, strings("tokenizer.ggml.tokens", ["a", "b", "c"])]
    embedding = Tensor(name="token_embd.weight", dtype="F32", shape=(2, 4))
    write_file(tmp_path, fields, [embedding], [bytes(32)])
    with pytest.raises(ConvertError, match=r"has 3 tokens, but token_embd\.weight has 2 rows"):
        FORMAT.validate(tmp_path)


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    tensors = [Tensor(name=name, dtype="F32", shape=(16,)) for name in ("first", "second")]
    path = write_file(tmp_path, REQUIRED, tensors, [bytes(64), bytes(64)])
    data = path.read_bytes()
    at = data.index(b"second") + len("second") + 4 + 8 + 4
    assert struct.unpack_from("<Q", data, at) == (64,)
    path.write_bytes(data[:at] + struct.pack("<Q", 32) + data[at + 8 :])
    with pytest.raises(ConvertError, match="'first' and 'second' overlap"):
        FORMAT.validate(tmp_path)


def test_artifacts_are_called_after_project_and_scheme() -> None:
    assert FORMAT.artifact_path("model.gguf", "smol", "Q4_K_M") == "smol-Q4_K_M.gguf"
    assert FORMAT.artifact_path("model-00002-of-00003.gguf", "smol", "F16") == "smol-F16-00002-of-00003.gguf"


@pytest.mark.parametrize(
    ("architecture", "config", "more"),
    [("llama", LLAMA3_ROPE, 8), ("phi3", BEYOND_ROPE, 16)],
)
def test_factors_of_the_rotary_embedding_are_no_parameters(
    tmp_path: Path, architecture: str, config: dict[str, Any], more: int
) -> None:
    """They stand in the file as tensors, and are told apart from what was trained."""
    source = make_checkpoint(tmp_path / "source", architecture, config=config)
    trained = sum(prod(tensor.shape) for tensor in facts(source).tensors)
    found = FORMAT.facts(convert(source, tmp_path / "out", "F32"))
    assert sum(prod(tensor.shape) for tensor in found.tensors if tensor.weight) == trained
    assert sum(prod(tensor.shape) for tensor in found.tensors if not tensor.weight) == more
    assert {tensor.name: tensor.weight for tensor in predicted(source, "F32").tensors} == {
        tensor.name: tensor.weight for tensor in found.tensors
    }
