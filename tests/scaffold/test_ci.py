"""A new plugin's first hour: what `new-plugin` says next, and what its CI file runs, where only pip is installed."""

import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelmill.scaffold import KINDS, new_plugin

yaml: Any = pytest.importorskip("yaml", reason="reads the workflow")
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def constraint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for pip that says: the modelmill that a plugin requires is the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*wheel, str(ROOT)], check=True)
    (made,) = folder.glob("*.whl")
    (folder / "constraints.txt").write_text(f"modelmill @ {made.as_uri()}\n")
    return folder / "constraints.txt"


def run(lines: Sequence[str], folder: Path, environment: Path, constraint: Path) -> str:
    """What a shell says to these lines, in an environment that lacks all that this one has."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    path = os.pathsep.join([str(environment / "bin"), "/usr/bin", "/bin"])
    own = {"PATH": path, "PIP_CONSTRAINT": str(constraint), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    script = "\n".join(["set -e", *lines])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env={**kept, **own}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def workflow(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The steps of a repository's one workflow, and the lines that it runs."""
    (path,) = (folder / ".github/workflows").iterdir()
    table = yaml.safe_load(path.read_text())
    (job,) = table["jobs"].values()
    return job["steps"], [step["run"] for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("kind", KINDS)
def test_its_workflow_checks_out_takes_a_python_and_runs_what_the_readme_says(kind: str, tmp_path: Path) -> None:
    new_plugin("mine", kind, tmp_path)
    folder = tmp_path / "modelmill-mine"
    steps, lines = workflow(folder)
    assert [step["uses"].partition("@")[0] for step in steps if "uses" in step] == [
        "actions/checkout",
        "actions/setup-python",
    ]
    python = next(step["with"]["python-version"] for step in steps if "with" in step)
    assert type(python) is str, "a number would make 3.1 of 3.10"
    shown = re.findall(r"^\$ (.*)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert shown == [*lines, "modelmill plugins"]


def test_the_workflows_of_all_that_need_no_tool_pass_where_nothing_is_installed(
    constraint: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    for kind in KINDS:
        if kind != "quantizer":
            new_plugin(f"my-{kind}", kind, tmp_path)
            folder = tmp_path / f"modelmill-my-{kind}"
            told = run(workflow(folder)[1], folder, tmp_path / "venv", constraint)
            assert re.search(r"\d+ passed", told.splitlines()[-1]), kind
            assert "skipped" not in told.splitlines()[-1], kind
    assert "numpy" not in run(["pip list"], tmp_path, tmp_path / "venv", constraint)


def test_what_the_command_says_next_passes_for_one_that_needs_a_tool(constraint: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    command = [sys.executable, "-m", "modelmill", "new-plugin", "half", "--kind", "quantizer"]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    (hint,) = re.findall(r"^next: (.*)$", said, re.MULTILINE)
    told = run([hint], tmp_path, tmp_path / "venv", constraint)
    assert re.search(r"\d+ passed", told.splitlines()[-1])
    assert "skipped" not in told.splitlines()[-1]
    # What it says is what the workflow runs, from another folder.
    lines = workflow(tmp_path / "modelmill-half")[1]
    assert hint.replace("modelmill-half[", ".[") == f"{' && '.join(lines)} modelmill-half"
