"""What is not in the key is not in the job; and every part of the key makes another key."""

from dataclasses import fields
from pathlib import Path

import pytest
from interpreters import install, make_interpreter

from modelmill import Job
from modelmill.plan import keys

from .conftest import BUILD, PLUGIN, Mill, lay_out, lay_out_alone


def test_every_field_of_a_job_is_in_the_key_or_left_out_with_a_reason() -> None:
    assert {item.name for item in fields(Job)} == {*keys.COVERED, *keys.NOT_COVERED}
    assert not {*keys.COVERED} & {*keys.NOT_COVERED}


def step_keys(mill: Mill) -> dict[str, str]:
    return {f"{step['name']} {step['scheme']}": step["key"] for step in mill.run("plan", "--json").json()["steps"]}


PROFILE = PLUGIN.read_text().split('BENCH = """')[1].split('"""')[0]
CHANGES = {
    "a file that is read": ({"words": "to see\n"}, {"shout upper", "shorten short", "shorten tiny"}),
    "an option": ({"build": BUILD.replace('"short"', '"short"\noptions = { length = 2 }')}, {"shorten short"}),
    "a hardware field that is used": (
        {"plugin": PLUGIN.read_text().replace('["sse2"]', '["avx2"]')},
        {"shout upper", "shorten short", "shorten tiny"},  # the profile lies in the plugin's own file here
    ),
    "the plugin's code": (
        {"plugin": PLUGIN.read_text() + "\n# a word\n"},
        {"shout upper", "shorten short", "shorten tiny"},
    ),
    "the project's version": ({"build": BUILD.replace('"1.0"', '"1.1"')}, set[str]()),
    "a target's name": ({"build": BUILD.replace("[target.tiny]", "[target.small]")}, set[str]()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_other_keys_where_it_can_make_other_bytes(
    change: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    edits, expected = CHANGES[change]
    mill = lay_out_alone(tmp_path_factory.mktemp("mill"), PLUGIN.read_text(), "to be\n")
    mill.write(BUILD)
    before = step_keys(mill)
    if "words" in edits:
        mill.write(edits["words"], "words/words.txt")
    if "build" in edits:
        mill.write(edits["build"])
    if "plugin" in edits:
        (mill.site / "letters_plugin.py").write_text(edits["plugin"])
    after = step_keys(mill)
    assert {name for name in before if before[name] != after[name]} == expected


def test_an_unrelated_distribution_changes_no_byte_of_an_artifact(tmp_path: Path) -> None:
    site = make_interpreter(tmp_path / "interpreter")
    install(site, "letters", "1.0", {"letters": PLUGIN.read_text()})
    found = []
    for folder in (tmp_path / "before", tmp_path / "after"):
        mill = lay_out(tmp_path / "interpreter" / "bin" / "python", folder, "to be\n")
        mill.write(BUILD.replace('mode = "none"', 'key = "development:"'))
        assert mill.run("build", environment={"XDG_DATA_HOME": str(tmp_path / "data")}).code == 0
        found.append(mill.files())
        install(site, f"unrelated-{folder.name}", "3.2", {})
    assert found[0] == found[1]
    assert {"words/1.0/plain/model.sig", "words/1.0/plain/sbom.cdx.json", "words/1.0/release.json.sig"} <= set(found[0])


def test_keys_are_whole_digests_and_do_not_depend_on_the_place(
    mill: Mill, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mill.write(BUILD)
    other = lay_out(mill.python, tmp_path_factory.mktemp("other"))
    other.write(BUILD)
    assert step_keys(mill) == step_keys(other)
    assert all(len(key) == 64 for key in step_keys(mill).values())
