"""The merged weights are, bit for bit, those of peft's merge_and_unload in float32, cast to the base's dtype."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from modelmill import Facts, Job, Limits, Outlook
from modelmill.checkpoint import facts
from modelmill.testing import Shape, make_checkpoint
from modelmill_huggingface import adapter, lowrank
from modelmill_huggingface.merge import MERGE_LORA, MergeLora

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
ADAPTERS: dict[str, dict[str, Any]] = {
    "some layers": {"r": 8, "lora_alpha": 20, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    "all layers, each its own": {
        "r": 12,
        "lora_alpha": 7,
        "use_rslora": True,
        "target_modules": "all-linear",
        "rank_pattern": {"q_proj": 4, "^model.layers.0.mlp.up_proj": 16},
        "alpha_pattern": {r".*\.k_proj": 33, r"layers\.1\.mlp\.gate_proj$": 5},
    },
    "an embedding, and a head trained whole": {
        "r": 8,
        "target_modules": ["q_proj", "embed_tokens"],
        "modules_to_save": ["lm_head"],
    },
    "a high rank": {"r": 160, "lora_alpha": 16, "target_modules": ["o_proj", "gate_proj"]},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", ADAPTERS.values(), ids=ADAPTERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_merging_gives_the_bits_of_peft(tmp_path: Path, dtype: str, settings: dict[str, Any]) -> None:
    base = make_checkpoint(
        tmp_path / "base",
        "llama",
        dtype=dtype,
        shards=2,
        shape=Shape(hidden=128, intermediate=288, heads=8),
        config={"tie_word_embeddings": False},
    )
    given = train(base, tmp_path / "adapter", settings)
    merged = PeftModel.from_pretrained(load(base), given).merge_and_unload().state_dict()
    ours = tensors(merge(base, given, tmp_path))
    before = tensors(base)
    assert ours.keys() == before.keys() == merged.keys()
    for name, values in ours.items():
        assert values.dtype == DTYPES[dtype]
        assert torch.equal(values, merged[name].to(DTYPES[dtype])), name
    changed = [name for name in ours if not torch.equal(ours[name], before[name])]
    assert len(changed) == len(adapter.changes(adapter.facts(given)))


@pytest.mark.parametrize("rank", [1, 2, 7, 64])
@pytest.mark.parametrize("narrow", [lowrank.as_bfloat16, lowrank.as_float16])
def test_what_the_bounds_decide_is_what_the_sum_gives(narrow: lowrank.Narrow, rank: int) -> None:
    chance = np.random.default_rng(rank)
    base = chance.standard_normal((96, 80), np.float32)
    base[::3] *= np.float32(1e-6)  # where the update is all that counts
    up = chance.standard_normal((96, rank), np.float32)
    down = chance.standard_normal((rank, 80), np.float32)
    down[:, ::5] = 0
    up[:, 0] = np.float32(2.0**-140)
    exact = lowrank.merged(base, up, down, 0.37, lowrank.as_float32).view(np.float32)
    assert np.array_equal(lowrank.merged(base, up, down, 0.37, narrow), narrow(exact))


def test_each_term_is_rounded_once() -> None:
    """Against exact rational arithmetic, with sums that lie halfway between two float32 as often as can be."""
    chance = np.random.default_rng(0)
    up = (chance.integers(-(2**12), 2**12, (300, 6)) * 2.0**-12).astype(np.float32)
    down = (chance.integers(2**23, 2**24, (6, 1)) * 2.0 ** -chance.integers(0, 40, (6, 1))).astype(np.float32)
    found = lowrank.merged(np.zeros((300, 1), np.float32), up, down, 1.0, lowrank.as_float32).view(np.float32)
    for row, value in zip(up, found[:, 0], strict=True):
        total = Fraction(0)
        for b, a in zip(row.tolist(), down[:, 0].tolist(), strict=True):
            total = Fraction(nearest_float32(total + Fraction(b) * Fraction(a)))
        assert float(total) == float(value)


def nearest_float32(value: Fraction) -> float:
    """The nearest float32, ties to even, of a rational number of normal size."""
    if value == 0:
        return 0.0
    near = np.float32(float(value))
    options = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    return float(min(options, key=lambda x: (abs(Fraction(float(x)) - value), int(x.view(np.uint32)) & 1)))


def train(base: Path, folder: Path, settings: dict[str, Any]) -> Path:
    torch.manual_seed(7)
    model = get_peft_model(load(base), LoraConfig(**settings, task_type="CAUSAL_LM"))
    for name, values in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(values, std=0.05)
    model.save_pretrained(folder)
    return folder


def load(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def merge(base: Path, given: Path, scratch: Path) -> Path:
    found = MERGE_LORA.infer(
        Outlook(facts=facts(base), scheme=None, options=MergeLora(), inputs={"adapter": adapter.facts(given)})
    )
    assert isinstance(found, Facts)
    out = scratch / "merged"
    out.mkdir()
    limits = Limits(scratch=scratch / "notes")
    MERGE_LORA.run(
        Job(
            source=base,
            inputs={"adapter": given},
            out=out,
            scheme=found.scheme or "",
            options=MergeLora(),
            hardware=None,
            limits=limits,
        )
    )
    assert facts(out) == found
    return out


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: values for path in folder.glob("*.safetensors") for name, values in load_file(path).items()}
