"""mlx-lm itself, in its tool environment: minutes and 230 MB, so only where MODELMILL_TEST_TOOLCHAINS is set."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
from modelmill import Facts
from modelmill.checkpoint import open_checkpoint
from modelmill.testing import ConverterSuite, Shape, convert, make_checkpoint

from modelmill_mlx_lm import plan

pytestmark = [
    pytest.mark.skipif(
        "MODELMILL_TEST_TOOLCHAINS" not in os.environ,
        reason="set MODELMILL_TEST_TOOLCHAINS=1 to install and run mlx-lm",
    ),
    pytest.mark.filterwarnings("ignore"),  # torch's, transformers' and mlx-lm's own
]
SHAPE = Shape(hidden=128, intermediate=256, heads=4, kv_heads=2)
CONVERTER = "huggingface-to-mlx-lm"
IDS = [1, 17, 42, 5, 99, 3, 64, 7]


def computed(folder: Path) -> Any:
    """The logits that mlx-lm computes."""
    import mlx.core as mx
    from mlx_lm.utils import load_model

    mx.set_default_device(mx.cpu)
    model, _ = load_model(folder)
    return np.array(model(mx.array([IDS]))[0].astype(mx.float32))


def weights(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every tensor; mlx-lm writes them in an order of its own."""
    with open_checkpoint(folder) as checkpoint:
        return {
            tensor.name: (tensor.dtype, tuple(tensor.shape), bytes(checkpoint.raw(tensor.name)))
            for tensor in checkpoint.tensors
        }


def test_there_is_a_checkpoint_of_every_family() -> None:
    assert set(families.SETTINGS) == set(plan.FAMILIES)


@pytest.mark.parametrize("family", plan.FAMILIES)
def test_what_mlx_lm_computes_is_what_transformers_computes(tmp_path: Path, family: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("mlx_lm")
    model = families.make(tmp_path / "source", family)
    with torch.no_grad():
        wanted = model(torch.tensor([IDS])).logits[0].numpy()
    made = convert("modelmill_mlx_lm", CONVERTER, "f32", tmp_path / "source", tmp_path / "made")
    assert np.abs(computed(made) - wanted).max() < 5e-4 * max(1.0, np.abs(wanted).max())


def test_a_llama_is_what_modelmills_own_converter_makes_of_it(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "source", "llama", shape=SHAPE)
    made = [
        convert(module, name, "4bit", source, tmp_path / module)
        for module, name in (("modelmill_mlx_lm", CONVERTER), ("modelmill_mlx", "huggingface-to-mlx"))
    ]
    for name in ("config.json", "model.safetensors.index.json", "tokenizer.json"):
        left, right = (folder / name for folder in made)
        assert left.read_bytes() == right.read_bytes(), name
    assert weights(made[0]) == weights(made[1])


def test_a_family_that_modelmill_does_not_know_needs_no_word(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    families.make(tmp_path / "model", "mixtral")
    (tmp_path / "build.toml").write_text("""
[project]
name = "experts"
version = "1.0.0"
license = "Apache-2.0"

[source.base]
uri = "model"

[target.macbook]
source = "base"
hardware = "apple-m2"
format = "mlx"
scheme = "4bit"

[sign]
mode = "none"
""")
    command = [sys.executable, "-m", "modelmill", "build"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "dist/experts/1.0.0/macbook/artifact.json").read_text())
    (step,) = manifest["steps"]
    versions = {tool["name"]: tool["version"] for tool in step["tools"]}
    assert (versions["mlx-lm"], versions["transformers"]) == ("0.32.2", "5.23.0")


class TestConverter(ConverterSuite):
    plugin = "modelmill_mlx_lm"
    name = CONVERTER

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama", shape=SHAPE)

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        assert (inferred.format, inferred.scheme) == (found.format, found.scheme)
        assert inferred.architecture == found.architecture
