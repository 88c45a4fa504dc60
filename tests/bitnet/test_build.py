"""Ternary models through the command line: built whole, refused in a sentence, marked where they are experiments."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bitnet_parts.models import SHAPE, convert, master, other, packed

from modelmill import ConvertError
from modelmill.checkpoint import facts
from modelmill.store.facts import parameters

EXAMPLE = Path(__file__).parents[2] / "examples" / "bitnet"
BUILD = """
[project]
name = "tiny"
version = "1.0.0"
license = "MIT"

[source.base]
uri = "path:checkpoint"

[defaults]
source = "base"
hardware = "x86-64-v3"
format = "gguf"
scheme = "TQ2_0"
"""


@dataclass(frozen=True)
class Folder:
    path: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        data, store = str(self.path / "data"), str(self.path / "store")
        return subprocess.run(
            [sys.executable, "-m", "modelmill", *arguments],
            cwd=self.path,
            env={**os.environ, "MODELMILL_STORE": store, "XDG_DATA_HOME": data},
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "build.toml").write_text(BUILD)
    return Folder(tmp_path)


def targets(folder: Folder, text: str) -> None:
    (folder.path / "build.toml").write_text(BUILD + text)


def test_the_example_builds_every_form_with_one_command(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "bitnet", ignore=shutil.ignore_patterns("checkpoint", "dist", "build.lock"))
    environment = {**os.environ, "MODELMILL_STORE": str(tmp_path / "store")}
    done = subprocess.run(
        [sys.executable, "make.py"],
        cwd=tmp_path / "bitnet",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {path.parent.name: path.name for path in (tmp_path / "bitnet" / "dist").rglob("*.gguf")}
    assert made == {
        "llama-tq1": "tiny-bitnet-TQ1_0.gguf",
        "llama-tq2": "tiny-bitnet-TQ2_0.gguf",
        "bitnet-x86": "tiny-bitnet-i2_s.gguf",
        "bitnet-pi": "tiny-bitnet-i2_s.gguf",
    }


def test_a_packed_checkpoint_builds_and_is_not_called_quantized_twice(folder: Folder) -> None:
    packed(folder.path / "checkpoint", "bitlinear")
    targets(folder, '[target.a]\n[target.b]\nscheme = "TQ1_0"\n[target.c]\nformat = "bitnet"\nscheme = "I2_S"\n')
    done = folder.run("build")
    assert done.returncode == 0, done.stderr
    release = folder.path / "dist" / "tiny" / "1.0.0"
    manifests = {name: json.loads((release / name / "artifact.json").read_text()) for name in "abc"}
    assert not any(manifest["flags"]["requantized"] for manifest in manifests.values())
    counted = facts(master(folder.path / "master"))
    assert {manifest["parameters"] for manifest in manifests.values()} == {parameters(counted)}
    same = folder.run("diff", str(release / "a"), str(release / "b"), "--error")
    told = [line for line in same.stdout.splitlines() if "tensor blk." in line]
    assert len(told) == 7 * SHAPE.layers
    assert all("TQ2_0" in line and "TQ1_0" in line and line.endswith("relative error 0") for line in told)


def test_the_two_layouts_of_i2_s_hold_the_same_values(folder: Folder) -> None:
    master(folder.path / "checkpoint")
    targets(
        folder,
        '[target.a]\nformat = "bitnet"\nscheme = "I2_S"\n'
        '[target.b]\nformat = "bitnet"\nscheme = "I2_S"\nhardware = "raspberry-pi-5"\n',
    )
    assert folder.run("build").returncode == 0
    release = folder.path / "dist" / "tiny" / "1.0.0"
    for name, layout in {"a": "x86-act-parallel", "b": "arm-neon"}.items():
        first, second = json.loads((release / name / "artifact.json").read_text())["notes"]
        assert first == f"its I2_S tensors have the layout {layout}"
        assert second.startswith("unverified: no file of this format has been loaded by bitnet.cpp")
        assert second in (release / name / "README.md").read_text()
    same = folder.run("diff", str(release / "a"), str(release / "b"), "--error")
    told = [line for line in same.stdout.splitlines() if "tensor blk." in line]
    assert len(told) == 7 * SHAPE.layers
    assert all(line.endswith("relative error 0") for line in told)


def test_an_experiment_passes_only_where_the_policy_says_so(folder: Folder) -> None:
    other(folder.path / "checkpoint", ternary=False)
    targets(folder, "[target.a]\noptions = { experimental = true }\n")
    assert folder.run("keys", "new", "release.pem").returncode == 0
    text = (folder.path / "build.toml").read_text()
    (folder.path / "build.toml").write_text(text + '[sign]\nkey = "release.pem"\n')
    done = folder.run("build")
    assert done.returncode == 0, done.stderr
    artifact = folder.path / "dist" / "tiny" / "1.0.0" / "a"
    assert json.loads((artifact / "artifact.json").read_text())["flags"]["experimental"] is True
    card = json.loads((artifact / "sbom.cdx.json").read_text())["metadata"]["component"]["modelCard"]
    assert {"name": "modelmill:experimental", "value": "true"} in card["properties"]
    refused = folder.run("verify", str(artifact), "--key", "release.pub")
    assert refused.returncode != 0
    assert "marked experimental" in refused.stderr + refused.stdout
    (folder.path / "policy.toml").write_text('keys = ["release.pub"]\nexperimental = true\n')
    assert folder.run("verify", str(artifact), "--policy", "policy.toml").returncode == 0


def test_a_model_that_is_not_ternary_is_refused_and_its_measure_is_kept(folder: Folder) -> None:
    other(folder.path / "checkpoint", ternary=False)
    targets(folder, "[target.a]\n")
    first = folder.run("build")
    assert first.returncode != 0
    assert "was not trained ternary" in first.stderr
    assert "use Q4_K_M" in first.stderr
    assert "measure-ternary report: " in first.stderr + first.stdout
    again = folder.run("build")
    assert "was not trained ternary" in again.stderr
    assert "measure-ternary report: " not in again.stderr + again.stdout
    assert not (folder.path / "dist").exists()


def test_the_real_smollm2_is_refused_in_less_than_two_seconds(real_checkpoint: Path, tmp_path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(ConvertError, match=r"not trained ternary.* lies \d\d\.\d% from it; use Q4_K_M"):
        convert(real_checkpoint, tmp_path, "TQ2_0")
    assert time.perf_counter() - start < 2
