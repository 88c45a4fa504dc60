import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from modelmill.testing import make_checkpoint

BUILD = """\
[project]
name = "tiny"
version = "1.0.0"
license = "Apache-2.0"

[source.base]
uri = "path:model"

[source.text]
uri = "path:foxes.txt"

[defaults]
source = "base"
hardware = "x86-64-v3"

[target.small]
format = "gguf"
scheme = "Q8_0"

[target.laptop-onnx]
format = "onnx"
scheme = "int4"
default = false

[target.macbook-mlx]
format = "mlx"
scheme = "4bit"
default = false

[target.small-gguf]
format = "gguf"
scheme = "Q4_0"
inputs = { imatrix = "text" }
default = false

[sign]
mode = "none"
"""


def modelmill(*arguments: str, cwd: Path) -> str:
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("modelmill")
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_every_plugin_that_the_wheel_brings_loads(tmp_path: Path) -> None:
    names = {entry.name for entry in importlib.metadata.entry_points(group="modelmill")}
    told = modelmill("plugins", "--json", cwd=tmp_path)
    assert {plugin["name"] for plugin in json.loads(told)["plugins"]} >= names
    assert json.loads(told)["broken"] == []


@pytest.mark.parametrize(
    ("package", "path"),
    [
        ("modelmill", "py.typed"),
        ("modelmill", "scaffold/templates/common/pyproject.toml.in"),
        ("modelmill_targets", "raspberry-pi-5.toml"),
        ("modelmill_gguf", "recipes"),
    ],
)
def test_data_files_are_there(package: str, path: str) -> None:
    found = files(package).joinpath(path)
    assert found.is_file() or found.is_dir()


def test_a_checkpoint_becomes_an_artifact(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "model", "llama")
    (tmp_path / "foxes.txt").write_text("The quick brown fox jumps over the lazy dog.")
    (tmp_path / "build.toml").write_text(BUILD)
    modelmill("build", "--store", str(tmp_path / "store"), cwd=tmp_path)
    artifact = tmp_path / "dist/tiny/1.0.0/small"
    manifest = json.loads((artifact / "artifact.json").read_text())
    assert manifest["scheme"] == "Q8_0"
    (model,) = artifact.glob("*.gguf")
    assert model.read_bytes()[:4] == b"GGUF"


@pytest.mark.skipif(
    any(importlib.util.find_spec(tool) for tool in ("onnxruntime_genai", "mlx", "llama_cpp")),
    reason="needs an environment without these extras; run.py makes one for the wheel",
)
@pytest.mark.parametrize(
    ("arguments", "extras"),
    [
        (("plan", "laptop-onnx"), ["onnx"]),
        (("plan", "macbook-mlx"), ["mlx"]),
        (("build", "macbook-mlx"), ["mlx"]),
        (("plan", "small-gguf"), ["llama"]),
        (("build", "--all"), ["onnx", "mlx", "llama"]),
    ],
)
def test_the_extra_that_a_target_needs_is_named(tmp_path: Path, arguments: tuple[str, ...], extras: list[str]) -> None:
    make_checkpoint(tmp_path / "model", "llama")
    (tmp_path / "foxes.txt").write_text("The quick brown fox jumps over the lazy dog.")
    (tmp_path / "build.toml").write_text(BUILD)
    done = run(*arguments, "--store", str(tmp_path / "store"), cwd=tmp_path)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("modelmill: ")]
    assert len(told) == len(extras)
    for line, extra in zip(told, extras, strict=True):
        assert line.endswith(f" is not installed; run: pip install 'modelmill[{extra}]'")
    assert not (tmp_path / "dist").exists()
