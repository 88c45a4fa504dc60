import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import tool_environments
from repositories import ROOT, install, keep_to_the_rules, known, pass_own_tests, run

from modelmill.testing import Shape, make_checkpoint

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("plugin-*"))


@pytest.fixture(scope="module", params=EXAMPLES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A copy of each example, installed into a folder beside it: its package, its repository, where it is installed."""
    parent = tmp_path_factory.mktemp(request.param)
    folder, site = parent / request.param, parent / "site"
    shutil.copytree(ROOT / "examples" / request.param, folder, ignore=shutil.ignore_patterns("__pycache__"))
    install(folder, site)
    return f"modelmill_{request.param.removeprefix('plugin-').replace('-', '_')}", folder, site


def test_its_tests_pass(made: tuple[str, Path, Path]) -> None:
    _, folder, site = made
    said = pass_own_tests(folder, site, folder.parent / "base", tool_environments.surroundings())
    assert " passed" in said
    assert "skipped" not in said or "MODELMILL_TEST_TOOLCHAINS" not in os.environ


def test_modelmill_knows_it(made: tuple[str, Path, Path]) -> None:
    package, folder, site = made
    found, broken = known(folder, site)
    assert package.replace("_", "-") in found
    assert broken == ""


def test_its_code_keeps_to_the_rules_of_this_repository(
    made: tuple[str, Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    package, folder, site = made
    keep_to_the_rules(folder, package, site, tmp_path_factory.getbasetemp() / "mypy")


def test_the_build_file_that_its_readme_shows_can_be_planned(made: tuple[str, Path, Path], tmp_path: Path) -> None:
    package, folder, site = made
    if "Toolchain(" in (folder / package / "__init__.py").read_text() and "MODELMILL_TEST_TOOLCHAINS" not in os.environ:
        pytest.skip("a plan pins its toolchain first, which takes minutes: MODELMILL_TEST_TOOLCHAINS=1")
    readme = (folder / "README.md").read_text()
    (shown,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "build.toml").write_text(shown)
    make_checkpoint(tmp_path / "model", "llama", shape=Shape(hidden=256, intermediate=512, heads=8))
    for workflow in re.findall(r"```json\n(.*?)```", readme, re.DOTALL):
        (tmp_path / "workflow").mkdir()
        (tmp_path / "workflow" / "workflow.json").write_text(workflow)
    command = [sys.executable, "-m", "modelmill", "plan"]
    assert "1 target" in run(command, tmp_path, site, tool_environments.surroundings())
