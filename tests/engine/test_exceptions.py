"""What a step holds otherwise than its scheme says is counted by `plan` and told by `explain`, with names in JSON."""

from pathlib import Path

import pytest

from .conftest import BUILD, PLUGIN, Mill, lay_out_alone

SHORTEN = "scheme=outlook.scheme, quantization=outlook.scheme"
TOLD = {"it is too long": ["not", "that"], "it is a name": ["Hamlet"]}


def make_mill(folder: Path, exceptions: object) -> Mill:
    """A build folder whose plugin tells this of what it shortens."""
    source = PLUGIN.read_text()
    assert SHORTEN in source
    source = source.replace(SHORTEN, f"{SHORTEN}, details={{'exceptions': {exceptions!r}}}")
    mill = lay_out_alone(folder, source)
    mill.write(BUILD)
    return mill


def test_exceptions_are_counted_and_told(tmp_path: Path) -> None:
    mill, targets = make_mill(tmp_path, {**TOLD, "it never happens": []}), ("plain", "short")
    told = mill.run("plan", *targets).out
    assert told.endswith("\n\nshorten short for short: 3 weights not as the scheme says; explain tells why\n")
    told = mill.run("plan", "short").out
    assert told.endswith("\n\nshorten short: 3 weights not as the scheme says; explain tells why\n")
    steps = {step["name"]: step["exceptions"] for step in mill.run("plan", *targets, "--json").json()["steps"]}
    assert steps == {"shout": {}, "shorten": TOLD}
    explained = mill.run("explain", *targets).out.splitlines()
    at = explained.index("  not as the scheme says after shorten short:")
    assert explained[at + 1 :] == ["    2 weights: it is too long", "    1 weight: it is a name"]
    found = {item["target"]: item["exceptions"] for item in mill.run("explain", *targets, "--json").json()["targets"]}
    assert found == {"plain": {}, "short": {"shorten short": TOLD}}
    assert mill.run("build", "short").code == 0
    assert mill.run("explain", "short").out.startswith("short: up to date\n  not as the scheme says after shorten")


def test_targets_of_one_scheme_are_told_apart(tmp_path: Path) -> None:
    mill = make_mill(tmp_path, TOLD)
    mill.write(
        f'{BUILD}\n[target.shorter]\nscheme = "short"\noptions = {{ length = 2 }}\n[target.twin]\nscheme = "short"\n'
    )
    lines = mill.run("plan", "short", "shorter", "twin").out.splitlines()[-2:]
    assert lines == [
        f"shorten short for {targets}: 3 weights not as the scheme says; explain tells why"
        for targets in ("short, twin", "shorter")
    ]


@pytest.mark.parametrize("exceptions", [["not", "that"], {"it is too long": "not"}])
def test_a_plugin_that_tells_something_else_is_named(tmp_path: Path, exceptions: object) -> None:
    done = make_mill(tmp_path, exceptions).run("plan", "short")
    sentence = f"letters 1.0: 'shorten' infers the exceptions {exceptions!r}, which are no lists of names by reason"
    assert (done.code, done.err) == (1, f"modelmill: {sentence}\n")
