from pathlib import Path

import pytest
from modelmill import Facts, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.testing import Shape, make_checkpoint

from modelmill_mlx_lm import MLX_LM, modelmill_converters, plan

SHAPE = Shape(hidden=128, intermediate=256, heads=4, kv_heads=2)


def outlook(folder: Path, scheme: str | None, options: plan.Options | None = None) -> Outlook[plan.Options]:
    return Outlook(facts=facts(folder), scheme=scheme, options=options or plan.Options())


def test_the_scheme_is_the_targets(tmp_path: Path) -> None:
    made = plan.infer(outlook(make_checkpoint(tmp_path, "llama", shape=SHAPE), "4bit"))
    assert isinstance(made, Facts)
    assert (made.format, made.scheme, made.quantization) == ("mlx", "4bit", "4bit")


def test_more_bits_are_more_bytes_and_groups_cost_some(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "llama", shape=SHAPE)
    sizes = []
    for scheme, group in (("2bit", 64), ("4bit", 128), ("4bit", 64), ("4bit", 32), ("8bit", 64), ("bf16", 64)):
        asked = outlook(tmp_path, scheme, plan.Options(group_size=group))  # type: ignore[arg-type]
        made = plan.infer(asked)
        assert isinstance(made, Facts)
        sizes.append(plan.estimate(asked, made).bytes_out)
    assert sizes == sorted(sizes)


def test_an_architecture_that_was_never_tried_is_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "llama")
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"brontosaurus"'))
    refused = plan.infer(outlook(tmp_path, "4bit"))
    assert isinstance(refused, Refusal)
    assert "'brontosaurus' was never tried with mlx-lm; there is cohere, " in refused.reason


def test_groups_that_divide_no_row_are_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "llama", shape=Shape(hidden=96, intermediate=96, heads=4, kv_heads=2))
    refused = plan.infer(outlook(tmp_path, "4bit"))
    assert isinstance(refused, Refusal)
    assert refused.reason == "no layer has rows that groups of 64 divide, so 4bit would quantize nothing"


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, "llama", shape=SHAPE)
    for path in tmp_path.glob("token*"):
        path.unlink()
    refused = plan.infer(outlook(tmp_path, "4bit"))
    assert isinstance(refused, Refusal)
    assert "no tokenizer" in refused.reason


@pytest.mark.parametrize("scheme", plan.SCHEMES)
def test_every_scheme_is_one_of_the_formats(scheme: str) -> None:
    from modelmill_mlx.offers import FORMAT

    assert scheme in FORMAT.schemes


def test_its_tools_are_a_toolchain_of_their_own() -> None:
    (converter,) = modelmill_converters()
    assert converter.toolchain is MLX_LM
    assert converter.tools == ()
