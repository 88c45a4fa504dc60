from pathlib import Path

import pytest
from gguf_conversions import (
    LINEAR_ROPE,
    LLAMA3_ROPE,
    LONG_ROPE,
    YARN_ROPE,
    Case,
    comparable_fields,
    convert,
    predicted,
    reference,
    tensor_bytes,
)

from modelmill_gguf.fields import value
from modelmill_gguf.header import read_header

CASES = (
    Case(architecture="llama"),
    Case(architecture="mistral"),
    Case(architecture="qwen2"),
    Case(architecture="qwen3"),
    Case(architecture="gemma3"),
    Case(architecture="phi3"),
    Case(architecture="smollm3"),
    Case(architecture="llama", scheme="F16"),
    Case(architecture="llama", scheme="F32"),
    Case(architecture="llama", dtype="F16", scheme="F16"),
    Case(architecture="llama", dtype="F16", scheme="BF16"),
    Case(architecture="llama", dtype="F16", scheme="F32"),
    Case(architecture="llama", dtype="F32", scheme="F16"),
    Case(architecture="llama", dtype="F32", scheme="BF16"),
    Case(architecture="llama", dtype="F32", scheme="F32"),
    Case(architecture="gemma3", dtype="F16", scheme="F16"),
    Case(architecture="gemma3", dtype="F32", scheme="F32"),
    Case(architecture="phi3", scheme="F16"),
    Case(architecture="llama", label="threefold", config=LLAMA3_ROPE),
    Case(architecture="llama", label="linear", config=LINEAR_ROPE),
    Case(architecture="qwen2", label="yarn", config=YARN_ROPE),
    Case(architecture="phi3", label="long", config=LONG_ROPE),
    Case(architecture="smollm3", label="deep", layers=4),
    Case(architecture="qwen3", shards=3),
)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, llama_cpp_sdist: Path) -> Path:
    """Every case converted by both, llama.cpp's in one process."""
    folder = tmp_path_factory.mktemp("parity")
    runs = []
    for case in CASES:
        source = case.make(folder / "source")
        result = convert(source, folder / "ours" / case.name, case.scheme) / "model.gguf"
        pre = read_header(result).fields["tokenizer.ggml.pre"]
        runs.append((source, folder / f"{case.name}.gguf", case.scheme, value(pre)))
    reference(llama_cpp_sdist, runs)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tensors_are_llama_cpps_bit_for_bit_and_in_its_order(converted: Path, case: Case) -> None:
    ours = tensor_bytes(converted / "ours" / case.name / "model.gguf")
    theirs = tensor_bytes(converted / f"{case.name}.gguf")
    assert list(ours) == list(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_metadata_are_llama_cpps_but_for_what_it_guesses_from_the_folders_name(converted: Path, case: Case) -> None:
    ours = comparable_fields(converted / "ours" / case.name / "model.gguf")
    theirs = comparable_fields(converted / f"{case.name}.gguf")
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if ours[key] != theirs[key]] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_predicts_the_file(converted: Path, case: Case) -> None:
    file = converted / "ours" / case.name / "model.gguf"
    facts = predicted(converted / "source" / case.name, case.scheme)
    header = read_header(file)
    assert dict(facts.files) == {"model.gguf": file.stat().st_size}
    assert facts.details["gguf"]["metadata_bytes"] == header.metadata_size
    assert [(each.name, each.dtype, each.shape) for each in facts.tensors] == [
        (each.name, each.kind, each.shape) for each in header.tensors
    ]
