"""What llama.cpp does not compute of a configuration is refused, or told where its own script takes it."""

from pathlib import Path
from typing import Any

import pytest
from gguf_conversions import YARN, convert, predicted

from modelmill import ConvertError, Job, Limits
from modelmill.testing import Shape, make_checkpoint
from modelmill_gguf.fused_record import FUSED, FusedOptions

SILU = ("llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3")
SLIDING, FULL = "sliding_attention", "full_attention"
WINDOW = {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1, "layer_types": None}
SHORT = "sets a sliding window of 32 tokens, and llama.cpp's {} attends to all of them"


def stretched(kind: str, **more: object) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": kind, "factor": 4.0, "original_max_position_embeddings": 64, **more}}


def foretell(folder: Path, architecture: str, config: dict[str, Any], shape: Shape | None = None) -> None:
    predicted(make_checkpoint(folder / "source", architecture, shape=shape or Shape(), config=config))


@pytest.mark.parametrize("asked", ["relu", "gelu", ["silu"]])
@pytest.mark.parametrize("architecture", SILU)
def test_another_activation_is_refused(tmp_path: Path, architecture: str, asked: object) -> None:
    name = "llama" if architecture == "mistral" else architecture
    with pytest.raises(ConvertError, match=rf"hidden_act = .*{name} computes silu"):
        foretell(tmp_path, architecture, {"hidden_act": asked})


@pytest.mark.parametrize(
    ("architecture", "config", "said"),
    [
        ("gemma3", {"hidden_activation": "gelu"}, "hidden_activation = 'gelu', .*gemma3 computes gelu_pytorch_tanh"),
        ("gemma3", {"query_pre_attn_scalar": 24}, "query_pre_attn_scalar = 24, .* by 16"),
        ("gemma3", {"query_pre_attn_scalar": None}, "query_pre_attn_scalar = 256, .* by 16"),
        ("gemma3", {"use_bidirectional_attention": True}, "only to what came before"),
        ("gemma3", {"layer_types": None, "sliding_window_pattern": 2}, "every sixth layer only"),
        ("gemma3", {"layer_types": None, "sliding_window_pattern": 0}, "sliding_window_pattern must be a positive"),
        ("gemma3", {"layer_types": [FULL, FULL]}, "every sixth layer only"),
        (
            "gemma3",
            stretched("llama3"),
            "'llama3' has no counterpart in llama.cpp's gemma3; default, linear, yarn have",
        ),
        ("gemma3", {"rope_parameters": {SLIDING: {**YARN, "rope_theta": 1e4}}}, "only in layers without a window"),
        ("gemma3", stretched("yarn", attention_factor=1.4), "no attention factor of yarn but 1.1386"),
        ("llama", stretched("dynamic"), "'dynamic' has no counterpart in llama.cpp's llama; .*llama3 have"),
        ("llama", stretched("longrope"), "'longrope' has no counterpart"),
        ("llama", stretched("yarn", beta_fast=16), "beta_fast = 16 of yarn, and llama.cpp computes with 32"),
        ("qwen2", stretched("yarn", beta_slow=2.0), "beta_slow = 2 of yarn, and llama.cpp computes with 1"),
        ("qwen2", stretched("yarn", truncate=False), "truncate = false of yarn"),
        ("qwen2", stretched("yarn", beta_fast=1e300), "beta_fast must be a number"),
        ("qwen3", stretched("llama3"), "'llama3' has no counterpart in llama.cpp's qwen3"),
        ("smollm3", stretched("llama3"), "'llama3' has no counterpart in llama.cpp's smollm3"),
        ("phi3", stretched("linear"), "'linear' has no counterpart in llama.cpp's phi3; default and longrope have"),
        ("phi3", stretched("longrope"), "long_factor of rope_scaling must list 8 numbers"),
        ("phi3", {"partial_rotary_factor": -0.5}, "partial_rotary_factor must be above 0 and at most 1"),
        ("phi3", {"original_max_position_embeddings": -4}, "original_max_position_embeddings must be a positive"),
        ("qwen2", WINDOW, SHORT.format("qwen2")),
        ("qwen2", {**WINDOW, "layer_types": [FULL, SLIDING]}, SHORT.format("qwen2")),
        ("qwen3", WINDOW, SHORT.format("qwen3")),
        (
            "qwen3",
            {**WINDOW, "sliding_window": None, "max_position_embeddings": 8192},
            "a sliding window of 4096 tokens",
        ),
        ("qwen3", {**WINDOW, "sliding_window": [4]}, "sliding_window must be a number"),
        ("smollm3", {**WINDOW, "no_rope_layers": None}, SHORT.format("smollm3")),
        ("smollm3", {**WINDOW, "layer_types": [SLIDING, FULL, FULL, FULL]}, SHORT.format("smollm3")),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(
    tmp_path: Path, architecture: str, config: dict[str, Any], said: str
) -> None:
    layers = 4 if architecture == "smollm3" else 2
    with pytest.raises(ConvertError, match=said):
        foretell(tmp_path, architecture, config, Shape(layers=layers))


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("llama", {"hidden_act": "swish", "sliding_window": 32, "use_sliding_window": True}),
        ("gemma3", {"layer_types": None, "sliding_window_pattern": 8}),  # six layers of eight would differ
        ("qwen2", {**WINDOW, "use_sliding_window": False}),
        ("qwen2", {**WINDOW, "max_window_layers": None}),
        ("qwen3", {**WINDOW, "sliding_window": 256}),
        ("phi3", {"rope_scaling": {"rope_type": "default", "long_factor": [1.0]}}),
        ("smollm3", WINDOW),  # its fourth layer would use it, and there is none
    ],
)
def test_what_makes_no_difference_is_taken(tmp_path: Path, architecture: str, config: dict[str, Any]) -> None:
    foretell(tmp_path, architecture, config)


def test_gemma_3_27b_is_known_by_its_layers_and_scaled_as_it_is(tmp_path: Path) -> None:
    shape = Shape(layers=62, head_width=32)
    foretell(tmp_path, "gemma3", {"query_pre_attn_scalar": 16}, shape)
    with pytest.raises(ConvertError, match=r"query_pre_attn_scalar = 32, .* by 16"):
        foretell(tmp_path / "other", "gemma3", {"query_pre_attn_scalar": 32}, shape)


@pytest.mark.parametrize(
    ("architecture", "config", "told"),
    [
        ("mistral", {"sliding_window": 32}, SHORT.format("llama")),
        ("phi3", {"sliding_window": 32}, SHORT.format("phi3")),
        ("mistral", {"sliding_window": 256}, None),
        ("mistral", {}, None),
        ("llama", {"sliding_window": 32}, None),
    ],
)
def test_a_window_that_llama_cpps_script_leaves_out_is_told_in_the_steps_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], architecture: str, config: dict[str, Any], told: str | None
) -> None:
    source = make_checkpoint(tmp_path / "source", architecture, config=config)
    convert(source, tmp_path / "out", "F16")
    assert (told or "") in capsys.readouterr().out
    (tmp_path / "fused").mkdir()
    limits = Limits(scratch=tmp_path / "scratch")
    options = FusedOptions()
    job = Job(
        source=source, inputs={}, out=tmp_path / "fused", scheme="Q8_0", options=options, hardware=None, limits=limits
    )
    FUSED.run(job)
    log = capsys.readouterr().out
    assert ("sliding window" in log) == (told is not None)
    assert (told or "") in log
