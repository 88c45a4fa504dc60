"""The fused way gives the bytes, and foretells the facts, of the chain that it replaces."""

from pathlib import Path

import pytest
from gguf_parts import ours, tiny

from modelmill import ConvertError, Facts, Job, Limits, Outlook
from modelmill.checkpoint import facts, read_header
from modelmill.testing import make_checkpoint
from modelmill_gguf import offers
from modelmill_gguf.fused_record import FUSED, FusedOptions
from modelmill_gguf.options import ConvertOptions
from modelmill_gguf.quantize_policy import QuantizeOptions
from modelmill_gguf.quantize_record import QUANTIZER


def chain(source: Path, scratch: Path, scheme: str, options: FusedOptions, imatrix: Path | None) -> Path:
    (scratch / "converted").mkdir()
    offers.FROM_HUGGINGFACE.run(
        Job(
            source=source,
            inputs={},
            out=scratch / "converted",
            scheme=converted(source, options).scheme or "",
            options=ConvertOptions(name=options.name),
            hardware=None,
            limits=Limits(scratch=scratch / "notes"),
        )
    )
    quantizing = QuantizeOptions(tensor_types=options.tensor_types)
    return ours.quantize(scratch / "converted", scratch / "chain", scheme, imatrix=imatrix, options=quantizing)


def converted(source: Path, options: FusedOptions) -> Facts:
    found = offers.FROM_HUGGINGFACE.infer(
        Outlook(facts=facts(source), scheme=None, options=ConvertOptions(name=options.name))
    )
    assert isinstance(found, Facts)
    return found


def fused(source: Path, scratch: Path, scheme: str, options: FusedOptions, imatrix: Path | None) -> Path:
    (scratch / "fused").mkdir()
    FUSED.run(
        Job(
            source=source,
            inputs={"imatrix": imatrix} if imatrix else {},
            out=scratch / "fused",
            scheme=scheme,
            options=options,
            hardware=None,
            limits=Limits(threads=2, scratch=scratch / "fused-notes"),
        )
    )
    return scratch / "fused" / "model.gguf"


@pytest.mark.parametrize(
    ("architecture", "dtype", "shards"),
    [
        *((name, "BF16", 1) for name in ("llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "smollm3")),
        *((name, "F32", 3) for name in ("llama", "qwen2", "qwen3", "gemma3", "phi3")),
        *((name, "F16", 1) for name in ("llama", "gemma3")),
    ],
)
def test_fused_gives_the_chains_bytes_and_facts(tmp_path: Path, architecture: str, dtype: str, shards: int) -> None:
    source = make_checkpoint(tmp_path / "source", architecture, dtype=dtype, shards=shards)
    options = FusedOptions(name="tiny", tensor_types=("ffn_down=Q5_1",))
    for number, scheme in enumerate(("Q4_K_M", "Q8_0")):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        one = fused(source, scratch, scheme, options, None)
        assert one.read_bytes() == chain(source, scratch, scheme, options, None).read_bytes()
        foretold = FUSED.infer(Outlook(facts=facts(source), scheme=scheme, options=options))
        steps = QUANTIZER.infer(
            Outlook(
                facts=converted(source, options),
                scheme=scheme,
                options=QuantizeOptions(tensor_types=options.tensor_types),
            )
        )
        assert foretold == steps
        assert isinstance(foretold, Facts)
        assert foretold.files == {"model.gguf": one.stat().st_size}


def test_fused_uses_an_importance_matrix(tmp_path: Path) -> None:
    import numpy as np

    source = make_checkpoint(tmp_path / "source", "llama")
    shapes = {tensor.name: tensor.shape for tensor in converted(source, FusedOptions()).tensors}
    random = np.random.default_rng(1)
    means = {
        name: random.uniform(0.1, 2, shape[-1]).astype(np.float32)
        for name, shape in shapes.items()
        if name.startswith("blk.") and len(shape) > 1
    }
    (tmp_path / "imatrix").mkdir()
    imatrix = tiny.write_imatrix(tmp_path / "imatrix" / "imatrix.gguf", means).parent
    one = fused(source, tmp_path, "IQ3_XXS", FusedOptions(), imatrix)
    assert one.read_bytes() == chain(source, tmp_path, "IQ3_XXS", FusedOptions(), imatrix).read_bytes()


@pytest.mark.parametrize("scheme", ["Q8_0", "Q4_K_M"])
@pytest.mark.parametrize("layer", [0, 1])
def test_weights_that_are_not_finite_are_named_on_the_fused_way_too(tmp_path: Path, layer: int, scheme: str) -> None:
    source = make_checkpoint(tmp_path / "source", "llama")
    name = f"model.layers.{layer}.self_attn.k_proj.weight"
    with (source / "model.safetensors").open("r+b") as file:
        file.seek(read_header(source / "model.safetensors")[name].start)
        file.write(b"\xc0\x7f")
    with pytest.raises(ConvertError, match=rf"layers\.{layer}\.self_attn\.k_proj\.weight' holds NaN"):
        fused(source, tmp_path, scheme, FusedOptions(), None)
