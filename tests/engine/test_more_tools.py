"""Tools that one step of a record has and another has not: in the key, in the description, and named when missing."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from interpreters import install

from .conftest import BUILD, PLUGIN, Mill, lay_out_alone

TYPED = 'more_tools=lambda outlook, facts: {"typewriter": "letters[ink]"} if outlook.scheme == "tiny" else {},'
HEAD = 'name="shorten",'


@dataclass(frozen=True)
class Desk:
    """A build folder, and the packages beside its plugin."""

    mill: Mill
    site: Path

    def build(self) -> list[str]:
        """Build; the titles of the steps that ran."""
        done = self.mill.run("build")
        assert done.code == 0, done.err
        return done.begun

    def tools(self, target: str) -> dict[str, str]:
        """What the last step's description names, each with its version."""
        manifest = self.mill.folder / "dist" / "words" / "1.0" / target / "artifact.json"
        steps: list[dict[str, Any]] = json.loads(manifest.read_text())["steps"]
        (step,) = [step for step in steps if step["name"] == "shorten"]
        return {tool["name"]: tool["version"] for tool in step["tools"]}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    mill = lay_out_alone(tmp_path, PLUGIN.read_text().replace(HEAD, f"{HEAD}\n        {TYPED}"))
    mill.write(BUILD)
    return Desk(mill, mill.site)


def test_a_step_is_made_anew_by_its_own_tool_and_no_other_step_is(desk: Desk) -> None:
    install(desk.site, "typewriter", "3.1", {})
    assert len(desk.build()) == 3
    assert desk.tools("tiny") == {"typewriter": "3.1"}
    assert desk.tools("short") == {}
    shutil.rmtree(desk.site / "typewriter-3.1.dist-info")
    install(desk.site, "typewriter", "3.2", {})
    assert desk.build() == ["shorten tiny"]
    assert desk.tools("tiny") == {"typewriter": "3.2"}


def test_a_tool_that_is_missing_is_named_where_a_step_needs_it(desk: Desk) -> None:
    done = desk.mill.run("build")
    assert done.code == 2
    assert "typewriter is not installed; run: pip install 'letters[ink]'" in done.err
    assert desk.mill.run("build", "short", "plain").code == 0
    assert desk.tools("short") == {}


def test_a_missing_tool_is_told_once_with_all_the_targets_that_need_it(desk: Desk) -> None:
    (line,) = desk.mill.run("plan").err.splitlines()
    assert line == "modelmill: target 'tiny': typewriter is not installed; run: pip install 'letters[ink]'"
    more = '[target.small]\nscheme = "tiny"\n\n[target.odd]\nscheme = "short"\noptions = { strange = 1 }\n\n[sign]'
    desk.mill.write(BUILD.replace("[sign]", more))
    done = desk.mill.run("plan")
    assert done.code == 2
    missing, other = done.err.splitlines()
    assert missing == "modelmill: targets 'tiny', 'small': typewriter is not installed; run: pip install 'letters[ink]'"
    assert "target 'odd': no step has an option 'strange'" in other


def test_a_record_that_fails_to_tell_is_named(desk: Desk) -> None:
    broken = TYPED.replace('{"typewriter": "letters[ink]"}', "{}[0]")
    (desk.site / "letters_plugin.py").write_text(PLUGIN.read_text().replace(HEAD, f"{HEAD}\n        {broken}"))
    done = desk.mill.run("plan")
    assert done.code != 0
    assert "letters" in done.err
    assert "'shorten' failed to plan (<lambda>): KeyError: 0" in done.err
