import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from modelmill import ConvertError, Facts, Outlook, Refusal
from modelmill.checkpoint import facts
from modelmill.testing import FormatSuite, Shape, make_checkpoint

from modelmill_olive import OLIVE, modelmill_converters, plan, workflow

BUILDER: Mapping[str, Any] = {"type": "ModelBuilder", "precision": "int4", "int4_block_size": 64}
TABLE: Mapping[str, Any] = {"passes": {"builder": BUILDER, "peephole": {"type": "OnnxPeepholeOptimizer"}}}


class TestFormat(FormatSuite):
    plugin = "modelmill_olive"
    name = "olive-workflow"

    def make_sample(self, folder: Path) -> None:
        (folder / "workflow.json").write_text(json.dumps(TABLE))

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "workflow.json", range(9)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({**TABLE, "input_model": {}}, "'input_model', which the build decides"),
        ({**TABLE, "data_configs": []}, "'data_configs'; a step runs `passes`"),
        ({"passes": {}}, "no table of passes"),
        ({"passes": {"x": {"type": "OnnxConversion"}}}, "'OnnxConversion' was never tried"),
        ({"passes": {"x": {"type": "OnnxPeepholeOptimizer"}}}, "first pass has to be ModelBuilder"),
        ({"passes": {"x": {"type": "ModelBuilder"}}}, "with a `precision`"),
    ],
)
def test_a_workflow_that_a_step_cannot_run_is_refused(table: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ConvertError, match=reason):
        workflow.check(table, "workflow.json")


def outlook(folder: Path, scheme: str | None, given: Mapping[str, Any] | None = None) -> Outlook[plan.Options]:
    inputs = {"workflow": Facts(format="olive-workflow", config=given)} if given else {}
    return Outlook(facts=facts(folder), scheme=scheme, options=plan.Options(), inputs=inputs)


def test_the_workflow_says_which_scheme_comes_out(tmp_path: Path) -> None:
    made = plan.infer(outlook(make_checkpoint(tmp_path, "llama"), None, TABLE))
    assert isinstance(made, Facts)
    assert (made.format, made.scheme, made.architecture) == ("onnx", "int4-builder", "llama")
    other = plan.infer(outlook(tmp_path, "fp32", TABLE))
    assert isinstance(other, Refusal)
    assert "makes int4-builder, not fp32" in other.reason


def test_the_size_is_that_of_what_olive_makes(tmp_path: Path) -> None:
    shape = Shape(hidden=128, intermediate=256, heads=4, kv_heads=2)
    asked = outlook(make_checkpoint(tmp_path, "llama", shape=shape), "int4-builder")
    made = plan.infer(asked)
    assert isinstance(made, Facts)
    size = plan.estimate(asked, made).bytes_out
    assert abs(size - sum(asked.facts.files.values()) + asked.facts.files["model.safetensors"] - 515_056) < 100


def test_an_architecture_that_is_not_offered_is_refused(tmp_path: Path) -> None:
    refused = plan.infer(outlook(make_checkpoint(tmp_path, "gemma3"), "fp32"))
    assert isinstance(refused, Refusal)
    assert "is not offered through Olive" in refused.reason


def test_its_tools_are_a_toolchain_of_their_own() -> None:
    (converter,) = modelmill_converters()
    assert converter.toolchain is OLIVE
    assert converter.tools == ()
