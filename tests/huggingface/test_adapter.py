from pathlib import Path
from typing import Any

import pytest
from huggingface_parts import Tensors, make_adapter, pair, write_adapter

from modelmill import ConvertError, Facts, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.testing import make_checkpoint
from modelmill_huggingface import adapter
from modelmill_huggingface.merge import MERGE_LORA, MergeLora

QUERY = "base_model.model.model.layers.0.self_attn.q_proj"
FLAT: Tensors = {f"{QUERY}.lora_A.weight": ("F32", (8,), bytes(32))}
MAGNITUDE: Tensors = {f"{QUERY}.lora_magnitude_vector": ("F32", (8,), bytes(32))}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA": ({"use_dora": True}, "DoRA"),
    "another method": ({"peft_type": "IA3"}, "only LORA"),
    "no method": ({"peft_type": None}, "only LORA"),
    "biases": ({"bias": "lora_only"}, "trains biases"),
    "biases of its own": ({"lora_bias": True}, "biases of its own"),
    "Conv1D": ({"fan_in_fan_out": True}, "transposed"),
    "PiSSA": ({"init_lora_weights": "pissa_niter_4"}, "changes the base's weights"),
    "repeated layers": ({"layer_replication": [[0, 1]]}, "repeats the model's layers"),
    "another rank": ({"r": 5}, "rank 4"),
    "another rank for some": ({"rank_pattern": {"q_proj": 9}}, "says 9"),
    "no alpha": ({"lora_alpha": None}, "not a number"),
    "an alpha that is none": ({"lora_alpha": True}, "not a number"),
    "an alpha beyond all": ({"lora_alpha": 10**400}, "not a number"),
    "a pattern that never ends": ({"alpha_pattern": {"(a+)+$": 1}}, "more than the end of a name"),
    "patterns that are none": ({"alpha_pattern": ["q_proj"]}, "not an object"),
}
BROKEN: dict[str, tuple[Tensors, str]] = {
    "nothing": ({}, "nothing to merge"),
    "half a pair": (dict(list(pair(QUERY, 64, 64, 4).items())[:1]), "only the tensor A"),
    "ranks that differ": ({**pair(QUERY, 64, 64, 4), **dict(list(pair(QUERY, 64, 64, 6).items())[1:])}, "4 and 6"),
    "another naming": (pair("transformer.h.0.attn", 64, 64, 4), "does not begin with"),
    "a vector": (FLAT, "no matrix"),
    "a magnitude": (MAGNITUDE, "not of a plain LoRA"),
    "whole numbers": ({f"{QUERY}.weight": ("I8", (8, 8), bytes(64))}, "not F32, F16 or BF16"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("base"), "llama")


def refusal(base: Path, given: Path) -> str:
    outlook = Outlook(facts=facts(base), scheme=None, options=MergeLora(), inputs={"adapter": adapter.facts(given)})
    found = MERGE_LORA.infer(outlook)
    return found.reason if isinstance(found, Refusal) else ""


@pytest.mark.parametrize(("config", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_more_than_a_plain_lora_is_refused_by_name(
    tmp_path: Path, base: Path, config: dict[str, Any], reason: str
) -> None:
    told = refusal(base, make_adapter(tmp_path / "adapter", base, **config))
    assert reason in told
    assert "\n" not in told


@pytest.mark.parametrize(("tensors", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_adapter_is_refused_by_name(tmp_path: Path, base: Path, tensors: Tensors, reason: str) -> None:
    given = write_adapter(tmp_path, tensors, {"r": 4, "lora_alpha": 8})
    assert reason in refusal(base, given)
    with pytest.raises(ConvertError, match=reason.replace(".", r"\.")):
        adapter.validate(given)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (pair("base_model.model.model.layers.9.self_attn.q_proj", 64, 64, 4), "which the base does not have"),
        (pair(QUERY, 32, 64, 4), "of shape [32, 64], which in the base is [64, 64]"),
        (pair("base_model.model.model.embed_tokens", 64, 64, 4), "both as its embedding and as its head"),
        (pair("base_model.model.lm_head", 64, 64, 4), "both as its embedding and as its head"),
    ],
)
def test_an_adapter_of_another_model_is_refused(tmp_path: Path, tensors: Tensors, reason: str) -> None:
    tied = make_checkpoint(tmp_path / "tied", "llama", config={"tie_word_embeddings": True})
    given = write_adapter(tmp_path / "adapter", tensors, {"r": 4, "lora_alpha": 8})
    outlook = Outlook(facts=facts(tied), scheme=None, options=MergeLora(), inputs={"adapter": adapter.facts(given)})
    found = MERGE_LORA.infer(outlook)
    assert isinstance(found, Refusal)
    assert reason in found.reason


def test_a_base_of_another_dtype_is_refused(tmp_path: Path, base: Path) -> None:
    found = facts(base)
    outlook = Outlook(
        facts=Facts(format="huggingface", scheme="F8_E4M3", config=found.config, tensors=found.tensors),
        scheme=None,
        options=MergeLora(),
        inputs={"adapter": adapter.facts(make_adapter(tmp_path, base))},
    )
    told = MERGE_LORA.infer(outlook)
    assert isinstance(told, Refusal)
    assert "F8_E4M3" in told.reason


def test_an_adapter_as_a_pickle_is_refused(tmp_path: Path, base: Path) -> None:
    given = make_adapter(tmp_path, base)
    (given / "adapter_model.safetensors").unlink()
    (given / "adapter_model.bin").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ConvertError, match="is a Python pickle"):
        adapter.facts(given)
