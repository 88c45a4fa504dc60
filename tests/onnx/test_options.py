"""What options do to the graph: the blocks, the zero points and the accuracy that its operators name, and its bytes."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import onnx
import pytest
from onnx_parts.folders import build, quantize

from modelmill import Facts, Outlook
from modelmill.checkpoint import facts
from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_onnx.offers import FORMAT, FROM_HUGGINGFACE, FROM_HUGGINGFACE_INT4, QUANTIZE
from modelmill_onnx.options import BuildInt4Options, BuildOptions, QuantizeOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, transformers' and onnxruntime's own
SHAPE = Shape(hidden=128, intermediate=160)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("options") / "source", "mistral", shape=SHAPE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    return build(source, tmp_path_factory.mktemp("built") / "onnx")


def said(folder: Path) -> dict[str, Counter[Any]]:
    """How many of the quantized products have which attribute, and whether they name zero points."""
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    named = [{item.name: item.i for item in node.attribute} for node in products]
    found = {key: Counter(item.get(key) for item in named) for key in ("bits", "block_size", "accuracy_level")}
    found["zero points"] = Counter(len(node.input) > 3 and bool(node.input[3]) for node in products)
    return found


@pytest.mark.parametrize(
    ("options", "block_size", "level", "zero_points"),
    [
        ({}, 32, 4, False),
        ({"block_size": 64, "symmetric": False}, 64, 4, True),
        ({"block_size": 16, "accuracy_level": 1}, 16, 1, False),
        ({"block_size": 256, "accuracy_level": 2}, 256, 2, False),
    ],
)
@pytest.mark.parametrize("way", ["builder", "own"])
def test_products_name_what_the_options_say(
    tmp_path: Path,
    source: Path,
    built: Path,
    way: str,
    options: dict[str, Any],
    block_size: int,
    level: int,
    *,
    zero_points: bool,
) -> None:
    if way == "builder":
        made = build(source, tmp_path / "made", "int4-builder", **options)
    else:
        made = quantize(built, tmp_path / "made", algorithm="rtn", **{"symmetric": True, **options})
    FORMAT.validate(made)
    assert said(made) == {
        "bits": {4: 11},
        "block_size": {block_size: 11},
        "accuracy_level": {level: 11},
        "zero points": {zero_points: 11},
    }


@pytest.mark.parametrize("way", ["builder", "own"])
def test_rows_that_are_padded_are_named_in_the_log(
    tmp_path: Path, source: Path, built: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    for block_size in (32, 64):
        capsys.readouterr()
        if way == "builder":
            build(source, tmp_path / f"{block_size}", "int4-builder", block_size=block_size)
        else:
            quantize(built, tmp_path / f"{block_size}", algorithm="rtn", block_size=block_size)
        told = [line for line in capsys.readouterr().out.splitlines() if "are padded by" in line]
        assert told == [
            f"model.layers.{layer}.mlp.down_proj.MatMul.weight: its 160 values per row are padded by 32 to whole "
            "blocks of 64"
            for layer in range(2 if block_size == 64 else 0)
        ]


@pytest.mark.parametrize("block_size", [16, 128, 256])
def test_the_bytes_that_are_told_are_those_of_padded_blocks(
    tmp_path: Path, source: Path, built: Path, block_size: Literal[16, 128, 256]
) -> None:
    by_plan = FROM_HUGGINGFACE.infer(Outlook(facts=facts(source), scheme=None, options=BuildOptions()))
    assert isinstance(by_plan, Facts)
    for scheme in ("int4", "int8"):
        made = quantize(built, tmp_path / scheme, scheme, algorithm="rtn", block_size=block_size)
        for known in (by_plan, FORMAT.facts(built)):
            outlook = Outlook(facts=known, scheme=scheme, options=QuantizeOptions(block_size=block_size))
            found = QUANTIZE.infer(outlook)
            assert isinstance(found, Facts)
            assert QUANTIZE.estimate(outlook, found).bytes_out == pytest.approx(size(made), rel=0.06)
    options = BuildInt4Options(block_size=block_size)
    asked = Outlook(facts=facts(source), scheme="int4-builder", options=options)
    found = FROM_HUGGINGFACE_INT4.infer(asked)
    assert isinstance(found, Facts)
    made = build(source, tmp_path / "builder", "int4-builder", block_size=block_size)
    assert FROM_HUGGINGFACE_INT4.estimate(asked, found).bytes_out == pytest.approx(size(made), rel=0.06)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
