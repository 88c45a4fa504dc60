from pathlib import Path

import pytest
from gguf_conversions import (
    BEYOND_ROPE,
    FLAT_ROPE,
    LINEAR_ROPE,
    LLAMA3_ROPE,
    LONG_FACTORS,
    LONG_ROPE,
    NESTED_ROPE,
    PHI_4,
    TOLD_YARN,
    YARN_ROPE,
    Case,
    comparable_fields,
    convert,
    predicted,
    reference,
    tensor_bytes,
)

from modelmill import Job, Limits
from modelmill_gguf.fields import value
from modelmill_gguf.fused_record import FUSED, FusedOptions
from modelmill_gguf.header import read_header

# What a class assumes where config.json is silent; nothing of it follows from the tensors.
SILENT = ("hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_theta")
SILENT_SMOLLM3 = ("no_rope_layers", "no_rope_layer_interval", "layer_types", "tie_word_embeddings")
SILENT_PHI3 = ("original_max_position_embeddings", "partial_rotary_factor", "sliding_window", "tie_word_embeddings")
SILENT_GEMMA3 = (
    *("hidden_activation", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_local_base_freq"),
    *("head_dim", "layer_types", "query_pre_attn_scalar", "sliding_window", "tie_word_embeddings"),
)
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
    Case(architecture="phi3", label="four", config=PHI_4, tokenizer="phi-4"),
    Case(architecture="llama", label="three", config=LLAMA3_ROPE, tokenizer="llama-3"),
    Case(architecture="smollm3", label="deep", layers=4),
    Case(architecture="qwen3", shards=3),
    Case(architecture="llama", label="yarn", config=YARN_ROPE),
    Case(architecture="llama", label="flat", config=FLAT_ROPE),
    Case(architecture="qwen2", label="told", config=TOLD_YARN),
    Case(architecture="qwen2", label="short", config={"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
    Case(architecture="qwen3", label="yarn", config=YARN_ROPE),
    Case(architecture="smollm3", label="yarn", layers=4, config=YARN_ROPE),
    Case(architecture="gemma3", label="linear", layers=6, config=LINEAR_ROPE),
    Case(architecture="gemma3", label="nested", layers=6, config=NESTED_ROPE),
    Case(architecture="phi3", label="beyond", config=BEYOND_ROPE),
    Case(
        architecture="phi3", label="yarn", config={**BEYOND_ROPE, "rope_scaling": {**LONG_FACTORS, "rope_type": "yarn"}}
    ),
    Case(
        architecture="phi3",
        label="beside",
        config={**BEYOND_ROPE, "rope_scaling": {**LONG_FACTORS, "original_max_position_embeddings": 32}},
    ),
    Case(architecture="llama", label="silent", silent=(*SILENT, "head_dim", "rope_scaling")),
    Case(architecture="mistral", label="silent", silent=(*SILENT, "head_dim", "sliding_window", "tie_word_embeddings")),
    Case(architecture="qwen2", label="silent", silent=(*SILENT, "sliding_window", "max_window_layers")),
    Case(architecture="qwen3", label="silent", head=128, silent=(*SILENT, "head_dim", "use_sliding_window")),
    Case(architecture="smollm3", label="silent", layers=4, silent=(*SILENT, *SILENT_SMOLLM3)),
    Case(architecture="gemma3", label="silent", layers=6, head=256, silent=SILENT_GEMMA3),
    Case(architecture="phi3", label="silent", silent=(*SILENT, *SILENT_PHI3)),
)

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "smollm3")


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
    for architecture in ARCHITECTURES:
        source = Case(architecture=architecture).make(folder / "q8")
        result = fused(source, folder / "q8-ours" / source.name)
        pre = read_header(result).fields["tokenizer.ggml.pre"]
        runs.append((source, folder / f"{architecture}-q8.gguf", "Q8_0", value(pre)))
    reference(llama_cpp_sdist, runs)
    return folder


def fused(source: Path, out: Path) -> Path:
    """The checkpoint as Q8_0, as a target asks for it."""
    out.mkdir(parents=True)
    limits = Limits(scratch=out.with_name(f"{out.name}-scratch"))
    options = FusedOptions()
    FUSED.run(Job(source=source, inputs={}, out=out, scheme="Q8_0", options=options, hardware=None, limits=limits))
    return out / "model.gguf"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tensors_are_llama_cpps_bit_for_bit_and_in_its_order(converted: Path, case: Case) -> None:
    ours = tensor_bytes(converted / "ours" / case.name / "model.gguf")
    theirs = tensor_bytes(converted / f"{case.name}.gguf")
    assert list(ours) == list(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_q8_0_is_what_llama_cpps_converter_makes_of_it(converted: Path, architecture: str) -> None:
    (ours,) = (converted / "q8-ours").glob(f"{architecture}_*/model.gguf")
    theirs = converted / f"{architecture}-q8.gguf"
    assert tensor_bytes(ours) == tensor_bytes(theirs)
    assert comparable_fields(ours) == comparable_fields(theirs)


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
