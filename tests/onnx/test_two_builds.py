"""Whole builds of ONNX and MLX: the same bytes in another folder, with another store and other numbers of jobs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx_parts.encoders import make_onnx_encoder

from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill_onnx.offers import FORMAT

BUILD = """
[project]
name = "tiny"
version = "1.0.0"
license = "Apache-2.0"

[source.base]
uri = "path:model"

[source.text]
uri = "path:text"

[source.encoder]
uri = "path:encoder"

[defaults]
source = "base"
hardware = "x86-64-v3"
format = "onnx"

[target.full]
scheme = "fp32"

[target.int4]
scheme = "int4"

[target.int8]
scheme = "int8"

[target.device]
scheme = "int4"
inputs = { calibration = "text" }
options = { execution_provider = "cuda", layout = "foundry-local", model_name = "tiny:1", calibration_chunks = 2 }

[target.encoder]
source = "encoder"
scheme = "int8"

[target.builder]
scheme = "int4-builder"

[target.mlx]
format = "mlx"
scheme = "4bit"

[target.mlx-mxfp4]
format = "mlx"
scheme = "mxfp4"

[target.mlx-mixed]
format = "mlx"
scheme = "mixed_3_6"
options = { group_size = 32 }

[sign]
mode = "none"
"""


def modelmill(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "MODELMILL_STORE": str(folder / "own store")}
    command = [sys.executable, "-m", "modelmill", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("two builds")
    shape = Shape(hidden=128, intermediate=192, layers=2)
    source = make_checkpoint(root / "source", "llama", shape=shape, config={"tie_word_embeddings": True})
    encoder = make_onnx_encoder(root / "encoder")
    found = []
    for name, jobs in (("first", "1"), ("a second, elsewhere", "3")):
        folder = root / name
        shutil.copytree(source, folder / "model")
        shutil.copytree(encoder, folder / "encoder")
        (folder / "text").mkdir()
        (folder / "text" / "words.txt").write_text(" ".join(f"word {number} of the text" for number in range(3000)))
        (folder / "build.toml").write_text(BUILD)
        done = modelmill(folder, "build", "--jobs", jobs)
        assert done.returncode == 0, done.stderr
        found.append(folder / "dist" / "tiny" / "1.0.0")
    return found[0], found[1]


def test_two_builds_are_byte_identical(releases: tuple[Path, Path]) -> None:
    first, second = releases
    names = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second).as_posix() for path in second.rglob("*") if path.is_file())
    assert {"int4/model.onnx", "mlx-mixed/model.safetensors", "mlx-mxfp4/model.safetensors"} <= set(names)
    assert [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()] == []


def test_each_target_is_what_it_says(releases: tuple[Path, Path]) -> None:
    release, _ = releases
    found = {name: FORMAT.facts(release / name) for name in ("full", "int4", "int8", "device", "encoder", "builder")}
    schemes = {"full": "fp32", "int4": "int4", "int8": "int8", "device": "int4", "encoder": "int8"}
    assert {name: known.scheme for name, known in found.items()} == {**schemes, "builder": "int4-builder"}
    assert json.loads((release / "device" / "inference_model.json").read_text())["Name"] == "tiny:1"
    config = json.loads((release / "device" / "genai_config.json").read_text())
    assert "cuda" in str(config["model"]["decoder"]["session_options"]["provider_options"])
    kept = onnx.load(str(release / "device" / "model.onnx"), load_external_data=False).graph
    assert {item.type.tensor_type.elem_type for item in kept.output} == {onnx.TensorProto.FLOAT16}
    assert [node.op_type for node in kept.node].count("GroupQueryAttention") == 2


AGAIN = """
[project]
name = "again"
version = "1.0.0"

[source.full]
uri = "path:../dist/tiny/1.0.0/full"
license = "Apache-2.0"

[target.int8]
source = "full"
hardware = "x86-64-v3"
format = "onnx"
scheme = "int8"

[sign]
mode = "none"
"""


def test_an_artifact_is_a_source_too(releases: tuple[Path, Path]) -> None:
    release, _ = releases
    folder = release.parents[2] / "again"
    folder.mkdir()
    (folder / "build.toml").write_text(AGAIN)
    done = modelmill(folder, "build")
    assert done.returncode == 0, done.stderr
    made = folder / "dist" / "again" / "1.0.0" / "int8"
    FORMAT.validate(made)
    assert (made / "model.onnx.data").read_bytes() == (release / "int8" / "model.onnx.data").read_bytes()
    assert (release / "full" / "model.onnx.data").stat().st_nlink == 1


def test_diff_judges_the_tensors_of_onnx(releases: tuple[Path, Path]) -> None:
    release, _ = releases
    done = modelmill(release.parents[2], "diff", "--tensors", "--error", "--json", *_two(release, "full", "int4"))
    assert done.returncode == 1, done.stderr
    found: dict[str, Any] = {item["name"]: item for item in _tensors(json.loads(done.stdout))}
    head = found["lm_head.MatMul.weight"]
    assert (head["before"].split()[0], head["after"].split()[0]) == ("FLOAT", "int4-b32")
    assert 0.01 < head["error"] < 0.2
    assert "model.layers.0.input_layernorm.weight" not in found


def _two(release: Path, *names: str) -> list[str]:
    return [str(release / name) for name in names]


def _tensors(content: Any) -> Any:
    if isinstance(content, dict):
        if "tensors" in content:
            return content["tensors"]
        content = list(content.values())
    for item in content if isinstance(content, list) else []:
        if (found := _tensors(item)) is not None:
            return found
    return None
