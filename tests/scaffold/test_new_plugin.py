import tomllib
from pathlib import Path

import pytest
from repositories import install, keep_to_the_rules, known, pass_own_tests

from modelmill.errors import ConfigError
from modelmill.scaffold import KINDS, new_plugin


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A new plugin of each kind, installed into a folder beside it: kind, repository, where it is installed."""
    kind: str = request.param
    parent = tmp_path_factory.mktemp(kind)
    new_plugin(f"my-{kind}", kind, parent)
    folder, site = parent / f"modelmill-my-{kind}", parent / "site"
    install(folder, site)
    return kind, folder, site


def test_its_tests_pass_as_written(made: tuple[str, Path, Path]) -> None:
    _, folder, site = made
    assert " passed" in pass_own_tests(folder, site, folder.parent / "base")


def test_modelmill_knows_it(made: tuple[str, Path, Path]) -> None:
    kind, folder, site = made
    found, broken = known(folder, site)
    assert f"modelmill-my-{kind}" in found
    assert broken == ""


def test_its_code_keeps_to_the_rules_of_this_repository(
    made: tuple[str, Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind, folder, site = made
    keep_to_the_rules(folder, f"modelmill_my_{kind}", site, tmp_path_factory.getbasetemp() / "mypy")


def test_its_project_names_what_it_brings(made: tuple[str, Path, Path]) -> None:
    kind, folder, _ = made
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["modelmill"] == {f"my-{kind}": f"modelmill_my_{kind}"}
    assert (folder / ".github/workflows/test.yml").exists()
    assert "@" not in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", ["My Format", "", "1st", "../up", "modelmill-"])
def test_a_name_that_no_package_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot name a plugin"):
        new_plugin(name, "converter", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "owner"),
    [("gguf", "modelmill"), ("artifacts", "modelmill"), ("targets", "modelmill"), ("modelmill-oci", "modelmill")],
)
def test_the_name_of_an_installed_package_is_refused_with_whose_it_is(name: str, owner: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{name}' would make .* installed already, by {owner}, and would be"):
        new_plugin(name, "quantizer", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_so_is_that_of_another_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    new_plugin("theirs", "hardware", tmp_path)
    install(tmp_path / "modelmill-theirs", site)
    monkeypatch.syspath_prepend(site)
    with pytest.raises(ConfigError, match="the package modelmill_theirs, which is installed already, by modelmill-the"):
        new_plugin("theirs", "source", tmp_path / "another")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new_plugin("twice", "source", tmp_path)
    with pytest.raises(ConfigError, match="is there already"):
        new_plugin("twice", "signer", tmp_path)


def test_an_unknown_kind_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'model' cannot be made; there is converter, quantizer"):
        new_plugin("x", "model", tmp_path)
