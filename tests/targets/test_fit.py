import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill import Facts, Hardware
from modelmill.hardware.fit import explain, fit

MIB = 1024**2
# Llama 3.1 8B, whose KV cache is known from its runtimes: 128 KiB a token in f16.
LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


def device(**fields: Any) -> Hardware:
    return Hardware(fields={"memory.budget_mib": 6144, "workload.context": 4096, **fields})


def facts(**changes: Any) -> Facts:
    return Facts(format="gguf", config={**LLAMA_8B, **changes})


def test_the_kv_cache_of_a_known_model() -> None:
    found = fit(device(), facts(), 4_900_000_000)
    assert found is not None
    assert found.kv_cache == 4096 * 128 * 1024
    assert found.complete
    assert found.fits
    halved = fit(device(**{"workload.kv_type": "q8_0", "workload.parallel": 3}), facts(), 0)
    assert halved is not None
    assert halved.kv_cache == 4096 * 65536 * 3 * 34 // 32


def test_layers_with_a_window_keep_the_window() -> None:
    kinds = ["sliding_attention"] * 24 + ["full_attention"] * 8
    found = fit(device(), facts(sliding_window=512, layer_types=kinds), 0)
    whole = fit(device(), facts(), 0)
    assert found is not None
    assert whole is not None
    assert found.kv_cache == whole.kv_cache * (24 * 512 + 8 * 4096) // (32 * 4096)


def test_a_window_that_is_not_used_changes_nothing() -> None:
    unused = fit(device(), facts(sliding_window=512, use_sliding_window=False), 0)
    assert unused == fit(device(), facts(), 0)


# Gemma 3 1B as its config.json has it: no layer_types, and every sixth layer sees all tokens.
GEMMA_3_1B: dict[str, Any] = {
    "model_type": "gemma3_text",
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "vocab_size": 262144,
    "max_position_embeddings": 32768,
    "sliding_window": 512,
}


@pytest.mark.parametrize("pattern", [{"sliding_window_pattern": 6}, {}])
def test_every_nth_layer_keeps_all_tokens(pattern: dict[str, int]) -> None:
    found = fit(device(**{"workload.context": 32768}), Facts(format="gguf", config={**GEMMA_3_1B, **pattern}), 0)
    assert found is not None
    assert found.kv_cache == (4 * 32768 + 22 * 512) * 2 * 256 * 2
    assert found.kv_cache == 139 * MIB


def test_layers_before_the_first_with_a_window_keep_all_tokens() -> None:
    changes = {"model_type": "qwen2", "sliding_window": 512, "use_sliding_window": True, "max_window_layers": 24}
    found = fit(device(), facts(**changes), 0)
    assert found is not None
    assert found.kv_cache == (24 * 4096 + 8 * 512) * 4096


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"context_length": 2048}, 2048),
        ({"max_position_embeddings": 1_000_000}, 65536),
        ({}, 65536),
        ({"max_position_embeddings": 8192, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 32768),
        (
            {
                "max_position_embeddings": 16384,
                "rope_scaling": {"factor": 8, "original_max_position_embeddings": 2048},
            },
            16384,
        ),
    ],
)
def test_a_context_is_no_longer_than_the_model_was_made_for(config: dict[str, Any], context: int) -> None:
    found = fit(device(**{"workload.context": 65536}), facts(**config), 0)
    assert found is not None
    assert found.context == context
    assert found.kv_cache == context * 128 * 1024


def test_an_encoder_keeps_nothing_of_a_token() -> None:
    bert = {**LLAMA_8B, "model_type": "bert", "max_position_embeddings": 512}
    found = fit(device(), Facts(format="onnx", config=bert), 100 * MIB)
    assert found is not None
    assert (found.kv_cache, found.complete, found.context) == (0, True, 512)
    decoder = fit(device(), Facts(format="onnx", config={**bert, "is_decoder": True}), 100 * MIB)
    assert decoder is not None
    assert decoder.kv_cache == 512 * 128 * 1024


def test_what_does_not_fit_says_what_would() -> None:
    found = fit(device(**{"workload.context": 131072}), facts(), 4_900_000_000)
    assert found is not None
    assert not found.fits
    assert 0 < found.largest_context < 131072
    smaller = fit(device(**{"workload.context": found.largest_context}), facts(), 4_900_000_000)
    assert smaller is not None
    assert smaller.fits
    larger = fit(device(**{"workload.context": found.largest_context + 256}), facts(), 4_900_000_000)
    assert larger is not None
    assert not larger.fits
    assert f"{found.largest_context:,} tokens would fit" in explain(found, "this device")


def test_weights_beyond_the_budget_ask_for_a_smaller_scheme() -> None:
    found = fit(device(), facts(), 16_000_000_000)
    assert found is not None
    assert found.largest_context == 0
    assert "choose a smaller scheme" in explain(found, "this device")
    tiny = dataclasses.replace(found, budget=MIB)
    assert "no scheme of this model would fit" in explain(tiny, "this device")


def test_a_profile_without_memory_cannot_judge() -> None:
    assert fit(Hardware(fields={"workload.context": 4096}), facts(), 10) is None


@pytest.mark.parametrize("config", [{}, {"num_hidden_layers": "x"}, {"num_hidden_layers": 3}, {"text_config": 3}])
def test_a_configuration_that_says_little_gives_a_lower_bound(config: dict[str, Any]) -> None:
    found = fit(device(), Facts(format="gguf", config=config), 1000 * MIB)
    assert found is not None
    assert not found.complete
    assert found.kv_cache == 0
    assert found.need > 1000 * MIB


def test_the_language_model_of_several_modalities_counts() -> None:
    nested = fit(device(), Facts(format="gguf", config={"text_config": LLAMA_8B}), 0)
    assert nested == fit(device(), facts(), 0)


values = (
    st.none() | st.booleans() | st.integers(-2, 2**40) | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=3)
)


@given(
    config=st.dictionaries(
        st.sampled_from(
            [*LLAMA_8B, *GEMMA_3_1B, "sliding_window_pattern", "layer_types", "rope_scaling", "text_config"]
        ),
        values | st.dictionaries(st.sampled_from(["factor", "original_max_position_embeddings"]), values | st.floats()),
    )
)
@settings(deadline=None)
def test_no_configuration_breaks_it(config: dict[str, Any]) -> None:
    found = fit(device(), Facts(format="gguf", config=config), 0)
    assert found is not None
    assert json.dumps(explain(found, "x"))
