"""One build, one lock, three environments: the engine's own, and two whose tools cannot share one."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tool_environments
from mlx_parts.folders import contents
from onnx_parts.encoders import make_encoder
from repositories import ROOT, install

from modelmill.testing.checkpoints import make_checkpoint

pytestmark = [pytest.mark.real, tool_environments.needed]
BUILD = """
[project]
name = "three"
version = "1.0.0"
license = "Apache-2.0"

[source.model]
uri = "path:model"

[source.encoder]
uri = "path:encoder"

[defaults]
source = "model"
hardware = "x86-64-v3"

[target.gguf]
format = "gguf"
scheme = "Q8_0"

[target.encoder]
source = "encoder"
format = "onnx"
scheme = "fp32"

[target.mlx]
format = "mlx"
scheme = "4bit"
converter = "huggingface-to-mlx"

[target.mlx-lm]
format = "mlx"
scheme = "4bit"
converter = "huggingface-to-mlx-lm"

[sign]
mode = "none"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was built, by one command, with the plugin for mlx-lm beside modelmill's own."""
    folder, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    install(ROOT / "examples" / "plugin-mlx-lm", site)
    make_checkpoint(folder / "model", "llama")
    make_encoder(folder / "encoder")
    (folder / "build.toml").write_text(BUILD)
    environment = {**os.environ, **tool_environments.surroundings(), "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "modelmill", "build"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def tools(folder: Path, target: str) -> dict[str, str]:
    manifest: dict[str, Any] = json.loads((folder / "dist/three/1.0.0" / target / "artifact.json").read_text())
    return {tool["name"]: tool["version"] for step in manifest["steps"] for tool in step["tools"]}


def test_one_lock_pins_both_toolchains(folder: Path) -> None:
    lock = tomllib.loads((folder / "build.lock").read_text())
    assert sorted(lock["toolchain"]) == ["mlx-lm", "optimum-onnx"]


def test_each_artifact_says_what_made_it(folder: Path) -> None:
    assert "transformers" not in tools(folder, "gguf")
    assert "transformers" not in tools(folder, "mlx")
    assert tools(folder, "encoder")["transformers"].startswith("4.")
    assert tools(folder, "mlx-lm")["transformers"].startswith("5.")


def test_modelmills_mlx_is_mlx_lms(folder: Path) -> None:
    ours, theirs = (folder / "dist/three/1.0.0" / target for target in ("mlx", "mlx-lm"))
    assert contents(ours) == contents(theirs)
    for name in ("config.json", "model.safetensors.index.json", "tokenizer.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
