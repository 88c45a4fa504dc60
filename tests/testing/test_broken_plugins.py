import os
import subprocess
from pathlib import Path

import pytest
from interpreters import install, make_interpreter

HERE = Path(__file__).parent
KIT = """
from pathlib import Path

from modelmill.testing import ConverterSuite, FormatSuite


class TestConverter(ConverterSuite):
    plugin = "PLUGIN"
    name = "CONVERTER"
    timeout = 5

    def make_source(self, folder: Path) -> None:
        (folder / "words.txt").write_text("To be  or not to be.")


class TestFormat(FormatSuite):
    plugin = "PLUGIN"
    name = "tally"

    def make_sample(self, folder: Path) -> None:
        (folder / "tally.json").write_text('{"tally": []}')

    def structure(self, folder: Path):
        yield folder / "tally.json", range(2)
"""
BUILD = """
[project]
name = "words"
version = "1.0"
license = "MIT"

[source.words]
uri = "words"

[target.tally]
source = "words"
hardware = "x86-64-v3"
format = "tally"
scheme = "plain"

[sign]
mode = "none"
"""
CAUGHT = {
    "impure": (
        "infer_and_estimate_are_pure",
        "impure_plugin: converter text-to-tally: infer and estimate answer the same question in two ways",
    ),
    "not_deterministic": (
        "same_job_gives_same_bytes",
        "not_deterministic_plugin: converter text-to-tally: the same job gives other bytes each time",
    ),
    "leaks_a_file": (
        "source_and_everything_but_out",
        "leaks_a_file_plugin: converter text-to-tally: writes outside its `out` and its scratch folder: ",
    ),
    "writes_natively": (
        "source_and_everything_but_out",
        "writes_natively_plugin: converter text-to-tally: writes outside its `out` and its scratch folder: ",
    ),
    "runs_a_program": (
        "source_and_everything_but_out",
        "runs_a_program_plugin: converter text-to-tally: writes outside its `out` and its scratch folder: ",
    ),
    "mutates_the_source": (
        "source_and_everything_but_out",
        "mutates_the_source_plugin: converter text-to-tally: changes its inputs, which are read-only",
    ),
    "imports_torch": (
        "TestConverter and importing_the_plugin",
        "imports_torch_plugin: loads numpy, torch when it is imported, and the engine waits for it",
    ),
    "wrong_types": (
        "TestConverter and what_the_plugin_offers",
        "wrong_types_plugin offers the Converter 'text-to-tally' whose 'schemes' is 'plain'; it should be a tuple",
    ),
    "raises_exception": (
        "bad_input_is_refused",
        "raises_exception_plugin: converter text-to-tally: words.txt missing: raised Exception: something went",
    ),
    "hangs": (
        "same_job_gives_same_bytes",
        "hangs_plugin: converter text-to-tally: plain: still running after 5 s",
    ),
    "crashes": (
        "same_job_gives_same_bytes",
        "crashes_plugin: converter text-to-tally: plain: died",
    ),
    "takes_a_name": (
        "TestConverter and nobody_else",
        "takes_a_name_plugin: the name 'huggingface-to-gguf' is taken: modelmill ",
    ),
}
"""What the kit says of each broken plugin, and the tests that say it."""
CONTAINED = {
    "mutates_the_source": "words.txt changed while text-to-tally plain (broken-mutates-the-source 1.0) read it",
    "wrong_types": "broken-wrong-types 1.0: plugin 'wrong_types' offers the Converter 'text-to-tally' whose 'schemes'",
    "raises_exception": "text-to-tally plain (broken-raises-exception 1.0) failed: Exception: something went wrong",
    "hangs": "text-to-tally plain (broken-hangs 1.0) ran longer than 2 s and was stopped",
    "crashes": "text-to-tally plain (broken-crashes 1.0) crashed in native code (SIGSEGV)",
    "takes_a_name": "broken-takes-a-name 1.0 and modelmill ",
}
"""What the engine says of those that it notices: in one build, or when it lists the plugins."""


def python_with(name: str, folder: Path) -> Path:
    """An interpreter in which the plugin of this name is installed."""
    site = make_interpreter(folder)
    (site / "tally.py").write_text((HERE.parent / "parts/tally.py").read_text())
    install(site, f"broken-{name.replace('_', '-')}", "1.0", {name: (HERE / f"broken/{name}.py").read_text()})
    return folder / "bin/python"


def kit(python: Path, name: str, folder: Path, *choice: str) -> tuple[int, str]:
    converter = "huggingface-to-gguf" if name == "takes_a_name" else "text-to-tally"
    tests = folder / "test_it.py"
    tests.write_text(KIT.replace("PLUGIN", f"{name}_plugin").replace("CONVERTER", converter))
    own = ["-q", "-rf", "--tb=short", "-p", "no:cacheprovider", "--basetemp", str(folder / "base"), "-W", "error"]
    done = subprocess.run(
        [python, "-m", "pytest", *own, *choice, tests],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def mill(python: Path, folder: Path, text: str, *command: str) -> tuple[int, str]:
    (folder / "words").mkdir()
    (folder / "words/words.txt").write_text(text)
    (folder / "build.toml").write_text(BUILD)
    done = subprocess.run(
        [python, "-m", "modelmill", *command],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "MODELMILL_STORE": str(folder / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_there_are_twelve() -> None:
    assert {path.stem for path in (HERE / "broken").glob("*.py")} == {*CAUGHT, "sound"}
    assert len(CAUGHT) == 12


def test_a_sound_plugin_passes_the_kit_and_builds(tmp_path: Path) -> None:
    python = python_with("sound", tmp_path / "venv")
    code, told = kit(python, "sound", tmp_path)
    assert code == 0, told
    assert mill(python, tmp_path, "To be or not to be.", "build")[0] == 0


@pytest.mark.parametrize("name", CAUGHT)
def test_a_broken_plugin_is_caught_in_one_sentence_that_names_it(name: str, tmp_path: Path) -> None:
    python = python_with(name, tmp_path / "venv")
    choice, sentence = CAUGHT[name]
    code, told = kit(python, name, tmp_path, "-k", choice)
    assert code == 1, told
    assert sentence in told


@pytest.mark.parametrize("name", CONTAINED)
def test_the_engine_lives_and_says_in_one_sentence_whose_fault_it_is(name: str, tmp_path: Path) -> None:
    python = python_with(name, tmp_path / "venv")
    text = "To be" if name == "raises_exception" else "To be  or not to be."
    command = ("plugins",) if name == "wrong_types" else ("build", "--timeout", "2")
    code, told = mill(python, tmp_path, text, *command)
    assert code != 0
    (line,) = [
        line for line in told.splitlines() if line.startswith(("modelmill: ", "broken: ")) and "warning" not in line
    ]
    assert CONTAINED[name] in line
