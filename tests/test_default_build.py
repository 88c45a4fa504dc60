"""The root build file, built as README says: real artifacts of the real model, which their runtimes load and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gguf_parts import peer

from reference import llama

ROOT = Path(__file__).parent.parent
MORE = {"laptop-onnx": "", "macbook-mlx": " --ignore-chat-template --max-tokens 2"}
"""The targets of other runtimes, and what is added to the command on their card: a token takes MLX seconds on a CPU."""
FILES = {"desktop-f16": "F16", "desktop-q8": "Q8_0", "macbook": "Q4_K_M", "raspberry-pi-5": "Q4_0"}
BASE = """
[target.lossless]
hardware = "x86-64-v3"
scheme = "BF16"
"""

pytestmark = pytest.mark.real


def build(folder: Path, data: Path, *arguments: str) -> Path:
    """Build the default targets in a folder of their own with a store of its own; return the release's folder."""
    folder.mkdir()
    for name in ("build.toml", "build.lock"):
        shutil.copy(ROOT / name, folder / name)
    with (folder / "build.toml").open("a") as file:
        file.write(BASE)
    environment = {**os.environ, "MODELMILL_STORE": str(folder / "store"), "XDG_DATA_HOME": str(data)}
    command = [sys.executable, "-m", "modelmill", "build", "--locked", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dist/smollm2-135m-instruct/1.0.0/raspberry-pi-5" in done.stdout
    return folder / "dist" / "smollm2-135m-instruct" / "1.0.0"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same build twice: another folder, another store, other numbers of jobs, fused and not."""
    root = tmp_path_factory.mktemp("default")
    first = build(root / "first", root / "data", "--jobs", "1")
    return first, build(root / "second", root / "data", "--jobs", "4", "lossless", *FILES)


@pytest.fixture(scope="module")
def others(releases: tuple[Path, Path]) -> Path:
    """The targets of other runtimes, from the same build file and store."""
    folder = releases[0].parents[2]
    environment = {**os.environ, "MODELMILL_STORE": str(folder / "store"), "XDG_DATA_HOME": str(folder.parent / "data")}
    command = [sys.executable, "-m", "modelmill", "build", "--locked", "--output", "others", *MORE]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "others" / "smollm2-135m-instruct" / "1.0.0"


def file_of(release: Path, target: str) -> Path:
    (found,) = (release / target).glob("*.gguf")
    return found


def test_two_builds_are_byte_identical(releases: tuple[Path, Path]) -> None:
    first, second = releases
    names = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second).as_posix() for path in second.rglob("*") if path.is_file())
    assert len(names) == 5 * 6 + 2
    assert [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()] == []


@pytest.mark.parametrize("target", FILES)
def test_llama_cpp_answers_in_sensible_english(releases: tuple[Path, Path], target: str) -> None:
    assert "Earth" in llama.answer(file_of(releases[0], target), "Name the planet that we live on.", tokens=24)


@pytest.mark.parametrize("target", MORE)
def test_other_runtimes_answer_from_the_artifact_as_it_lies(others: Path, target: str) -> None:
    folder = others / target
    assert {"artifact.json", "sbom.cdx.json", "model.sig"} <= {path.name for path in folder.iterdir()}
    (command,) = re.findall("```sh\n(.*?)\n```", (folder / "README.md").read_text())
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["sh", "-c", command + MORE[target]], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


@pytest.mark.parametrize("target", ["desktop-q8", "macbook", "raspberry-pi-5"])
def test_quantized_tensors_are_llama_cpps(releases: tuple[Path, Path], target: str, tmp_path: Path) -> None:
    from gguf import GGUFReader

    theirs = tmp_path / "theirs.gguf"
    assert peer.quantize(file_of(releases[0], "lossless"), theirs, FILES[target])
    expected = {tensor.name: tensor for tensor in GGUFReader(theirs).tensors}
    found = {tensor.name: tensor for tensor in GGUFReader(file_of(releases[0], target)).tensors}
    assert list(found) == list(expected)
    for name, tensor in found.items():
        assert tensor.tensor_type == expected[name].tensor_type, name
        assert tensor.data.tobytes() == expected[name].data.tobytes(), name


def test_the_plan_had_foretold_every_size(releases: tuple[Path, Path]) -> None:
    folder = releases[0].parents[2]
    environment = {**os.environ, "MODELMILL_STORE": str(folder / "store")}
    command = [sys.executable, "-m", "modelmill", "plan", "--json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    plan = json.loads(done.stdout)
    predicted = {step["key"]: step["bytes_out"] for step in plan["steps"]}
    for target in plan["targets"]:
        assert predicted[target["steps"][-1]] == file_of(releases[0], target["name"]).stat().st_size, target["name"]


def test_the_release_verifies_with_its_development_key_and_only_when_asked(releases: tuple[Path, Path]) -> None:
    folder = releases[0].parents[2]
    environment = {**os.environ, "XDG_DATA_HOME": str(folder.parent / "data")}
    command = [sys.executable, "-m", "modelmill", "verify", str(releases[0])]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2  # nobody said whom to trust
    assert "no key is trusted" in refused.stderr
    done = subprocess.run(
        [*command, "--development-keys"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "release smollm2-135m-instruct 1.0.0: good" in done.stdout
