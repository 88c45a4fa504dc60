"""Plugins that are broken, or in each other's way, take nobody else down and are named."""

import json
from pathlib import Path

import pytest
from interpreters import install

from .conftest import BUILD, PLUGIN, Mill, lay_out_alone

GOOD = PLUGIN.read_text()
BROKEN = {
    "import": ("import no_such_module\n", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def (:\n", "cannot be loaded: SyntaxError"),
    "misspelt": (
        "from modelmill import hookimpl\n\n@hookimpl\ndef modelmill_convertors():\n    return ()\n",
        "implements a hook that does not exist: unknown hook 'modelmill_convertors'",
    ),
    "raising": (
        "from modelmill import hookimpl\n\n@hookimpl\ndef modelmill_formats():\n    raise KeyError('x')\n",
        "fails to offer its formats: KeyError: 'x'",
    ),
    "wrong": (
        "from modelmill import hookimpl\n\n@hookimpl\ndef modelmill_formats():\n    return ['gguf']\n",
        "offers str where a Format is wanted",
    ),
}


@pytest.fixture
def make_mill(tmp_path: Path) -> object:
    def make(**distributions: dict[str, str]) -> Mill:
        mill = lay_out_alone(tmp_path, text="to be\n")
        for name, plugins in distributions.items():
            install(mill.site, name, "9", plugins)
        mill.write(BUILD)
        return mill

    return make


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_named_and_the_others_work(make_mill: object, fault: str) -> None:
    source, sentence = BROKEN[fault]
    mill = make_mill(letters={"letters": GOOD}, rotten={"rotten": source})  # type: ignore[operator]
    assert mill.run("build", "plain").code == 0
    listed = mill.run("plugins")
    assert listed.code == 1
    (line,) = listed.err.splitlines()
    assert line.startswith("broken: rotten 9: plugin 'rotten' ")
    assert sentence in line
    assert "letters (letters 9)" in listed.out


def test_two_offers_of_one_name_name_both_distributions(make_mill: object) -> None:
    mill = make_mill(letters={"letters": GOOD}, copycat={"copycat": GOOD})  # type: ignore[operator]
    done = mill.run("build")
    assert done.code == 1
    assert "copycat 9 and letters 9 both offer the " in done.err
    assert mill.run("plugins").code == 0


def test_two_ways_to_one_target_are_listed_and_settled_by_name(make_mill: object) -> None:
    other = (
        GOOD.replace('name="shout"', 'name="yell"')
        .replace("def modelmill_formats", "def other_formats")
        .replace("@hookimpl\ndef other", "def other")
        .replace("@hookimpl\ndef modelmill_quantizers", "def other_quantizers")
        .replace("@hookimpl\ndef modelmill_hardware", "def other_hardware")
        .replace('name="spell"', 'name="spell-too"')
    )
    mill = make_mill(letters={"letters": GOOD}, second={"second": other})  # type: ignore[operator]
    done = mill.run("plan", "plain")
    assert done.code == 2
    assert "several ways lead to loud upper: shout (letters 9); yell (second 9)" in done.err
    mill.write(BUILD.replace('scheme = "upper"', 'scheme = "upper"\nconverter = "yell"'))
    assert mill.run("build", "plain").code == 0


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        ('format = "loud"', 'format = "rotten"'),
        ('hardware = "bench"', 'hardware = "rotten"'),
        ('uri = "words"', 'uri = "rotten:words"'),
        ('scheme = "tiny"', 'scheme = "rotten"'),
        ('scheme = "tiny"', 'scheme = "tiny"\nconverter = "rotten"'),
    ],
    ids=["format", "hardware", "source", "scheme", "converter"],
)
def test_a_name_that_a_broken_plugin_may_have_is_told_with_why_it_is_broken(
    make_mill: object, known: str, unknown: str
) -> None:
    mill = make_mill(  # type: ignore[operator]
        letters={"letters": GOOD}, rotten={"rotten": "def (:\n"}, old={"old": "MODELMILL_API = 2\n"}
    )
    mill.write(BUILD.replace(known, unknown))
    done = mill.run("plan", "tiny")
    assert done.code == 2
    for line in done.err.splitlines():
        assert "rotten" in line
        assert "roken plugin may have it: " in line
        assert "old 9: plugin 'old' " in line
        assert "rotten 9: plugin 'rotten' cannot be loaded: SyntaxError: " in line


def test_a_packager_that_a_broken_plugin_may_have_is_told_with_why_it_is_broken(make_mill: object) -> None:
    mill = make_mill(letters={"letters": GOOD}, rotten={"rotten": "def (:\n"})  # type: ignore[operator]
    done = mill.run("package", "plain", "--as", "crate", "--output", "out")
    assert done.code == 2
    assert "nothing can package as 'crate'" in done.err
    assert "broken plugin may have it: rotten 9: plugin 'rotten' cannot be loaded" in done.err


def test_a_broken_plugin_from_a_folder_is_corrected_there_and_never_fetched(make_mill: object) -> None:
    mill = make_mill(letters={"letters": GOOD}, rotten={"rotten": "def (:\n"}, other={"other": "def (:\n"})  # type: ignore[operator]
    origin = {"url": (mill.folder / "my plugin").as_uri(), "dir_info": {"editable": True}}
    (mill.site / "rotten-9.dist-info/direct_url.json").write_text(json.dumps(origin))
    found = {item["name"]: item["mend"] for item in mill.run("doctor", "--json").json()["findings"]}
    assert found["plugin rotten"] == f"correct it in {mill.folder / 'my plugin'}"
    assert found["plugin other"] == "pip install --force-reinstall other"
