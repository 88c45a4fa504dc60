"""The real model, quantized as llama.cpp quantizes it; `tests/benchmarks/gguf_quantize.py --all` tries every scheme."""

from pathlib import Path
from typing import Any

import pytest
from gguf_parts import ours, peer

from modelmill import Facts, Job, Limits, Outlook
from modelmill.checkpoint import facts
from modelmill_gguf import model, offers
from modelmill_gguf.fused_record import FUSED, FusedOptions
from modelmill_gguf.quantize_record import QUANTIZER

pytestmark = pytest.mark.real


def step(record: Any, source: Path, out: Path, scheme: str) -> Path:
    limits = Limits(threads=2, scratch=out.parent / f"{out.name}-scratch")
    out.mkdir()
    record.run(
        Job(
            source=source,
            inputs={},
            out=out,
            scheme=scheme,
            options=record.options(),
            hardware=None,
            limits=limits,
        )
    )
    return out


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, real_checkpoint: Path) -> Path:
    return step(offers.FROM_HUGGINGFACE, real_checkpoint, tmp_path_factory.mktemp("smollm2") / "converted", "BF16")


@pytest.mark.parametrize("scheme", ["Q8_0", "Q4_0", "Q4_K_M", "Q6_K", "Q5_K_M", "Q2_K"])
def test_the_real_model_is_llama_cpps_file(tmp_path: Path, real_checkpoint: Path, converted: Path, scheme: str) -> None:
    assert peer.quantize(converted / "model.gguf", tmp_path / "theirs.gguf", scheme)
    theirs = (tmp_path / "theirs.gguf").read_bytes()
    assert ours.quantize(converted, tmp_path / "ours", scheme).read_bytes() == theirs
    assert (step(FUSED, real_checkpoint, tmp_path / "fused", scheme) / "model.gguf").read_bytes() == theirs
    for record, options, known in (
        (QUANTIZER, ours.QuantizeOptions(), model.facts(converted)),
        (FUSED, FusedOptions(), facts(real_checkpoint)),
    ):
        foretold = record.infer(Outlook(facts=known, scheme=scheme, options=options))  # type: ignore[arg-type]
        assert isinstance(foretold, Facts)
        assert foretold.files == {"model.gguf": len(theirs)}
