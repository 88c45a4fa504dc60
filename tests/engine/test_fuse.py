"""One step in the place of two is taken where it is predicted to cost less, and never shows in the result."""

import re
import shutil
from pathlib import Path

import pytest
from interpreters import install, make_interpreter

from modelmill.testing import make_checkpoint

from .conftest import Mill, lay_out

FUSED = "cut (fused)"
# Capitals take 3 s, each cut 1 s, and both in one go 2 s: that is less for two targets, and no longer for three.
HEAD = """
[project]
name = "words"
version = "1.0"
license = "MIT"
[source.base]
uri = "words"
format = "words"
[defaults]
source = "base"
hardware = "bench"
format = "caps"
[sign]
mode = "none"
"""


@pytest.fixture(scope="module")
def folds_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interpreter")
    plugin = Path(__file__).with_name("folds_plugin.py").read_text()
    install(make_interpreter(folder), "folds", "1.0", {"folds": plugin})
    return folder / "bin" / "python"


@pytest.fixture
def folds(folds_python: Path, tmp_path: Path) -> Mill:
    return lay_out(folds_python, tmp_path)


def targets(*schemes: str, options: str = "") -> str:
    table = f"options = {{ {options} }}\n" if options else ""
    return HEAD + "".join(f'[target.{scheme.lower()}]\nscheme = "{scheme}"\n{table}' for scheme in schemes)


def planned(mill: Mill) -> list[str]:
    """The records of the steps that are to run, by the plan's table."""
    done = mill.run("plan")
    assert done.code == 0, done.err
    rows = re.findall(r"^(\S+) \S+( \(fused\))? .*\bto run\b", done.out.partition("\nstep ")[2], re.MULTILINE)
    return sorted(name + fused for name, fused in rows)


def built(mill: Mill) -> list[str]:
    """The records of the steps that a build runs; it runs those that the plan tells."""
    told = planned(mill)
    done = mill.run("build")
    assert done.code == 0, done.err
    assert sorted(re.sub(r" \S+", "", title, count=1) for title in done.begun) == told
    return told


@pytest.mark.parametrize(
    ("schemes", "options", "steps"),
    [
        pytest.param(("two",), "", [FUSED], id="one"),
        pytest.param(("two", "three"), "", [FUSED, FUSED], id="two that cost less apart"),
        pytest.param(("two", "three", "four"), "", ["capitalize", "cut", "cut", "cut"], id="three that share"),
        pytest.param(("two", "full"), "", ["capitalize", "cut"], id="beside what lies between"),
        pytest.param(("two",), 'mark = "so: "', [FUSED], id="an option that both know"),
        pytest.param(("two",), 'border = "* "', ["capitalize", "cut"], id="an option of the first step alone"),
        pytest.param(("two",), "cut = { repeat = 2 }", [FUSED], id="an option of the last step"),
        pytest.param(
            ("two",), "capitalize = { repeat = 2 }", ["capitalize", "cut"], id="an option of what lies between"
        ),
    ],
)
def test_steps_are_fused_where_that_is_foretold_to_cost_less(
    folds: Mill, schemes: tuple[str, ...], options: str, steps: list[str]
) -> None:
    folds.write(targets(*schemes, options=options))
    assert planned(folds) == steps


@pytest.mark.parametrize(
    ("options", "between"), [("", ""), ('mark = "so: "', 'mark = "so: "'), ("cut = { repeat = 2 }", "")]
)
def test_the_artifact_of_a_fused_step_is_the_chains(folds: Mill, options: str, between: str) -> None:
    folds.write(targets("two", options=options))
    assert built(folds) == [FUSED]
    fused = folds.files("dist/words/1.0/two")
    shutil.rmtree(folds.folder / "store")
    folds.write(targets("two", options=options) + targets("full", options=between).removeprefix(HEAD))
    assert built(folds) == ["capitalize", "cut"]
    assert folds.files("dist/words/1.0/two") == fused


@pytest.mark.parametrize(
    ("schemes", "steps"),
    [
        (("Q8_0", "Q4_0"), ["gguf-quantize (fused)"] * 2),
        (("Q8_0", "Q4_0", "F16"), ["gguf-quantize", "gguf-quantize", "huggingface-to-gguf"]),
    ],
)
def test_gguf_is_made_in_one_step_but_beside_the_full_size_file(
    folds: Mill, schemes: tuple[str, ...], steps: list[str]
) -> None:
    make_checkpoint(folds.folder / "model", "llama", dtype="F16")
    text = targets(*schemes).replace('"words"\nformat = "words"', '"model"').replace('"caps"', '"gguf"')
    folds.write(text.replace('"bench"', '"raspberry-pi-5"'))
    assert planned(folds) == steps


def test_a_fused_step_has_the_name_of_its_chain_everywhere(folds: Mill) -> None:
    folds.write(targets("two"))
    assert folds.run("build").begun == ["cut two (fused)"]
    assert re.search(r"^cut two +cached ", folds.run("plan").out, re.MULTILINE)
    folds.write(targets("two").replace('scheme = "two"', 'scheme = "three"'))
    told = folds.run("explain").out
    assert "two: 1 to run (cut three (fused))\n" in told
    assert "  cut three:\n" in told
