"""What a person reads where a GGUF target cannot be made, and which way is taken where another one seems to lead."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelmill.testing import Shape, convert, make_checkpoint

BUILD = """
[project]
name = "tiny"
version = "1"
license = "MIT"

[source.base]
uri = "model"
requantize = {requantize}

[target.pi]
source = "base"
hardware = "raspberry-pi-5"
format = "gguf"
scheme = "{scheme}"

[sign]
mode = "none"
"""


def plan(folder: Path, scheme: str, *, requantize: bool = False) -> subprocess.CompletedProcess[str]:
    (folder / "build.toml").write_text(BUILD.format(scheme=scheme, requantize=str(requantize).lower()))
    command = [sys.executable, "-m", "modelmill", "plan", "--store", str(folder / "store")]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def refused(folder: Path, scheme: str, *, requantize: bool = False) -> str:
    """The one line of a refusal, without who says it."""
    done = plan(folder, scheme, requantize=requantize)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line.removeprefix("modelmill: ")


def make_quantized(folder: Path, architecture: str, scheme: str, shape: Shape | None = None) -> Path:
    """The folder, with a GGUF file of this scheme as its source."""
    checkpoint = make_checkpoint(folder / "checkpoint", architecture, shape=shape)
    plain = convert("modelmill_gguf", "huggingface-to-gguf", "F16", checkpoint, folder / "plain")
    convert("modelmill_gguf", "gguf-quantize", scheme, plain, folder / "model", kind="quantizer")
    return folder


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose source was quantized before."""
    return make_quantized(tmp_path_factory.mktemp("quantized"), "llama", "Q4_1", Shape(hidden=256, intermediate=256))


def test_what_was_quantized_before_is_refused_with_what_helps_alone(quantized: Path) -> None:
    found = refused(quantized, "Q8_0")
    assert found == (
        "target 'pi': the model was quantized before, to Q4_1, and Q8_0 on top of it loses more than it says; "
        "start from the original weights, or say `requantize = true` in the source"
    )


def test_a_scheme_that_needs_an_importance_matrix_is_refused_with_that_alone(quantized: Path) -> None:
    found = refused(quantized, "IQ1_S", requantize=True)
    assert found.startswith("target 'pi': IQ1_S needs an importance matrix for the tensor ")
    assert found.endswith("name one as the input 'imatrix', or choose a scheme of four bits or more.")
    assert found.count(";") == 1


def test_a_checkpoint_that_gguf_has_no_place_for_is_refused_by_who_would_convert_it(tmp_path: Path) -> None:
    config = {"architectures": ["FalconForCausalLM"], "model_type": "falcon"}
    make_checkpoint(tmp_path / "model", "llama", config=config)
    found = refused(tmp_path, "Q4_K_M")
    assert "FalconForCausalLM" in found
    assert "BitNet" not in found
    assert "ternary" not in found


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3"])
def test_ternary_schemes_are_no_way_to_another_scheme(tmp_path: Path, architecture: str) -> None:
    # Rows that no ternary block divides stay F16, which the quantizer would take.
    done = plan(make_quantized(tmp_path, architecture, "Q8_0"), "Q4_K_M", requantize=True)
    assert done.returncode == 0, done.stderr
    assert "ternary" not in done.stdout


def test_a_scheme_that_is_only_read_is_named_as_that(quantized: Path) -> None:
    found = refused(quantized, "NVFP4")
    assert found.startswith("build.toml:15: nothing makes gguf NVFP4, which is only read; choose one of F32, F16, ")
    assert "NVFP4" not in found.partition("; ")[2]


def test_no_scheme_that_nothing_makes_is_suggested(quantized: Path) -> None:
    found = refused(quantized, "MXFP4_MO")
    assert "did you mean 'MXFP4_MOE'?" in found
    assert "NVFP4" not in found
