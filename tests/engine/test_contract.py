"""A plugin and the contract that it was written for: declared, refused in one sentence, warned before it breaks."""

import ast
import importlib
import importlib.metadata
from pathlib import Path

import pytest
from interpreters import install
from public_face import names

import modelmill
from modelmill import contract
from modelmill.contract import DEPRECATED, Deprecation

from .conftest import BUILD, PLUGIN, Mill, lay_out_alone

ROOT = Path(__file__).parent.parent.parent
GOOD = PLUGIN.read_text()
SOON = """
from modelmill import contract
contract.DEPRECATED = {
    "ConvertError": contract.Deprecation(since="0.1", removed="0.3", instead="raise Sorrow"),
    "Maker.reads": contract.Deprecation(since="0.1", removed="0.2", instead="leave it away"),
}
"""


@pytest.fixture
def make_mill(tmp_path: Path) -> Mill:
    mill = lay_out_alone(tmp_path, text="to be\n")
    mill.write(BUILD)
    return mill


NEWER = {
    "it loads": f"MODELMILL_API = 2\n{GOOD}",
    "it needs what this one lacks": f"from modelmill import Telepathy\nMODELMILL_API = 2\n{GOOD}",
}


@pytest.mark.parametrize("case", NEWER)
def test_a_plugin_of_another_version_is_refused_in_one_sentence(make_mill: Mill, case: str) -> None:
    install(make_mill.site, "letters", "9", {"letters": NEWER[case]})
    listed = make_mill.run("plugins")
    assert listed.code == 1
    (line,) = listed.err.splitlines()
    assert line == (
        "broken: letters 9: plugin 'letters' was written for version 2 of the plugin contract, and modelmill "
        f"{importlib.metadata.version('modelmill')} offers version 1; install a letters for this version, or a "
        "newer modelmill"
    )


def test_a_version_that_is_none_is_told(make_mill: Mill) -> None:
    install(make_mill.site, "letters", "9", {"letters": f"MODELMILL_API = '1'\n{GOOD}"})
    assert "declares MODELMILL_API = '1'; it is a whole number, such as 1" in make_mill.run("plugins").err


def test_a_plugin_of_this_version_and_one_that_declares_none_are_used(make_mill: Mill) -> None:
    install(make_mill.site, "letters", "9", {"letters": f"MODELMILL_API = 1\n{GOOD}"})
    install(make_mill.site, "silent", "9", {"silent": "import modelmill\n"})
    listed = make_mill.run("plugins", "--json")
    assert listed.code == 0
    found = {item["name"]: item["api"] for item in listed.json()["plugins"]}
    assert (found["letters"], found["silent"], found["gguf"]) == (1, None, 1)


def test_what_will_go_is_warned_of_once_with_the_plugins_name(make_mill: Mill) -> None:
    install(make_mill.site, "letters", "9", {"letters": GOOD})
    (make_mill.site / "soon.py").write_text(SOON)
    (make_mill.site / "soon.pth").write_text("import soon\n")  # before any plugin is loaded
    done = make_mill.run("build", "plain")
    assert done.code == 0
    warned = [line for line in done.err.splitlines() if "letters 9" in line]
    since = "deprecated since modelmill 0.1 and gone in"
    assert warned == [
        f"modelmill: warning: letters 9: uses ConvertError, {since} 0.3; raise Sorrow",
        f"modelmill: warning: letters 9: uses Maker.reads, {since} 0.2; leave it away",
    ]
    assert make_mill.run("plugins", "--json").json()["deprecations"][-1].startswith("letters 9: ")


def test_a_deprecated_name_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = Deprecation(since="0.1", removed="0.2", instead="use nothing")
    monkeypatch.setattr(contract, "DEPRECATED", {"create": soon})
    vars(modelmill).pop("create", None)
    for _ in range(2):
        with pytest.warns(contract.ContractWarning, match="uses create, deprecated since modelmill 0.1"):
            assert modelmill.create.__module__ == "modelmill.output"


def test_what_is_deprecated_warns_for_a_minor_version_before_it_goes() -> None:
    def minor(version: str) -> tuple[int, int]:
        major, _, rest = version.partition(".")
        return int(major), int(rest.partition(".")[0])

    now = minor(importlib.import_module("importlib.metadata").version("modelmill"))
    for name, item in DEPRECATED.items():
        assert minor(item.since) < minor(item.removed), name
        assert now < minor(item.removed), f"{name} was to be gone in {item.removed}"


def test_every_built_in_plugin_declares_the_version_it_is_written_for() -> None:
    for path in (*ROOT.glob("plugins/*/__init__.py"), *ROOT.glob("targets/*/__init__.py")):
        said = [
            ast.literal_eval(node.value)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == contract.DECLARATION
        ]
        assert said == [contract.API_VERSION], path


def test_every_public_name_is_there() -> None:
    for name in contract.PUBLIC:
        module = importlib.import_module(name)
        assert [item for item in names(module) if getattr(module, item, None) is None] == []


def test_the_built_in_plugins_import_nothing_that_is_not_public() -> None:
    strays = []
    for path in (*ROOT.glob("plugins/**/*.py"), *ROOT.glob("targets/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FACES:
                strays += [f"{path}: {node.module}.{item.name}" for item in node.names if not public(node, item.name)]
    assert strays == []


FACES = ("modelmill", "modelmill_artifacts")


def public(node: ast.ImportFrom, name: str) -> bool:
    module = node.module or ""
    if f"{module}.{name}" in contract.PUBLIC:
        return True
    return module in contract.PUBLIC and name in names(importlib.import_module(module))
