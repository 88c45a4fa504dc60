import shutil
from pathlib import Path

import pytest
from repositories import ROOT, install, keep_to_the_rules, known, pass_own_tests

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
    assert " passed" in pass_own_tests(folder, site, folder.parent / "base")


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
