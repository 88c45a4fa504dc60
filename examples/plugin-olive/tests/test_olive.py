"""Olive itself, in its tool environment: minutes and 1.5 GB, so only where MODELMILL_TEST_TOOLCHAINS is set."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from modelmill import Facts
from modelmill.testing import ConverterSuite, Shape, make_checkpoint

pytestmark = pytest.mark.skipif(
    "MODELMILL_TEST_TOOLCHAINS" not in os.environ, reason="set MODELMILL_TEST_TOOLCHAINS=1 to install and run Olive"
)
SHAPE = Shape(hidden=128, intermediate=256, heads=4, kv_heads=2)
BUILD = """
[project]
name = "tiny"
version = "1.0.0"
license = "Apache-2.0"

[source.base]
uri = "model"

[source.workflow]
uri = "workflow"
format = "olive-workflow"

[target.olive]
source = "base"
hardware = "x86-64-v3"
format = "onnx"
scheme = "int4-builder"
converter = "huggingface-to-onnx-olive"
inputs = { workflow = "workflow" }

[sign]
mode = "none"
"""


def test_a_build_runs_a_workflow_and_repeats_it_byte_for_byte(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "model", "llama", shape=SHAPE)
    (tmp_path / "workflow").mkdir()
    builder = {"type": "ModelBuilder", "precision": "int4", "int4_block_size": 64}
    passes = {"builder": builder, "peephole": {"type": "OnnxPeepholeOptimizer"}}
    (tmp_path / "workflow/workflow.json").write_text(json.dumps({"passes": passes}))
    (tmp_path / "build.toml").write_text(BUILD)
    for command in (("build",), ("rebuild", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "modelmill", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    made = tmp_path / "dist/tiny/1.0.0/olive"
    assert (made / "model.onnx").is_file()
    assert not (made / "model_config.json").exists()
    tools = {
        tool["name"]: tool["version"] for tool in json.loads((made / "artifact.json").read_text())["steps"][0]["tools"]
    }
    assert tools["olive-ai"] == "0.13.0"
    assert tools["transformers"] == "4.57.6"


class TestConverter(ConverterSuite):
    plugin = "modelmill_olive"
    name = "huggingface-to-onnx-olive"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama", shape=SHAPE)

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        del folder
        return {}

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        assert (inferred.format, inferred.scheme) == (found.format, found.scheme)
        assert inferred.architecture == found.architecture
