"""Why a target would be built again: twenty kinds of change, each named, and nothing else named with it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from interpreters import install, make_interpreter

from modelmill.history.explain import reasons
from modelmill.history.memory import Memory
from modelmill.testing import make_checkpoint
from modelmill_artifacts import canonical

from .conftest import BUILD, PLUGIN, Mill

BENCH_PLUGIN = '''
from modelmill import HardwareProfile, hookimpl
TOML = """
description = "a test bench"
os.family = "linux"
os.arch = "amd64"
cpu.features = ["sse2"]
cpu.cores = 4
storage.split_mib = 9
"""
@hookimpl
def modelmill_hardware():
    yield HardwareProfile(name="bench", toml=TOML)
    yield HardwareProfile(name="other", toml=TOML)
'''
LETTERS = PLUGIN.read_text().replace('name="shout",', 'name="shout",\n        tools=("typewriter",),', 1)
LETTERS = LETTERS[: LETTERS.index("@hookimpl\ndef modelmill_hardware")]
RECIPED = LETTERS.replace("    length: int = 4\n", "    length: int = 4\n    recipe: Recipe | None = None\n").replace(
    "from modelmill import (", "from modelmill.recipe import Recipe\nfrom modelmill import (", 1
)
BUILT = BUILD.replace('scheme = "short"', 'scheme = "short"\noptions = { recipe = "short.toml" }')
RECIPE = 'default = "Q4_K"\n'


@dataclass(frozen=True)
class Bench:
    mill: Mill
    site: Path

    def edit(self, path: str, old: str, new: str) -> Callable[[], None]:
        """Replace text in a file of the folder (or of site-packages); returns what takes it back."""
        file = self.site / path.removeprefix("site/") if path.startswith("site/") else self.mill.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return lambda: (file.write_text(text), None)[1]

    def explain(self, *names: str) -> dict[str, Any]:
        done = self.mill.run("explain", *names, "--json")
        assert done.code == 0, done.err
        return {item["target"]: item for item in done.json()["targets"]}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    site = make_interpreter(folder / "interpreter")
    install(site, "letters", "1.0", {"letters": RECIPED})
    install(site, "benches", "1.0", {"benches": BENCH_PLUGIN})
    install(site, "typewriter", "3.1", {})
    mill = Mill(python=folder / "interpreter" / "bin" / "python", folder=folder)
    for name, text in (("words.txt", "to be\n"), ("whispered.no", ""), ("unread.md", "a word\n")):
        (folder / "words").mkdir(exist_ok=True)
        (folder / "words" / name).write_text(text)
    mill.write(RECIPE, "short.toml")
    mill.write(BUILT)
    done = mill.run("build")
    assert done.code == 0, done.err
    return Bench(mill, site)


CHANGES: dict[str, tuple[tuple[str, str, str], str, list[str], list[str]]] = {
    # what: (edit, target to ask about, changes of steps, changes of the artifact's description)
    "an option": (
        ("build.toml", 'recipe = "short.toml"', 'recipe = "short.toml", length = 2'),
        "short",
        ["shorten short: option length changed: 4 → 2"],
        [],
    ),
    "an option of an earlier step": (
        ("build.toml", 'format = "loud"', 'format = "loud"\noptions = { repeat = 2 }'),
        "tiny",
        ["shout upper: option repeat changed: 1 → 2"],
        [],
    ),
    "an option of another target": (
        ("build.toml", 'recipe = "short.toml"', 'recipe = "short.toml", length = 2'),
        "tiny",
        [],
        [],
    ),
    "the recipe's file": (
        ("short.toml", "Q4_K", "Q6_K"),
        "short",
        ["shorten short: option recipe.default changed: Q4_K → Q6_K"],
        [],
    ),
    "a file that is read": (
        ("words/words.txt", "to be", "to do"),
        "plain",
        ["shout upper: source file words.txt changed"],
        ["sources model.files.words.txt changed"],
    ),
    "a file that no step reads": (
        ("words/unread.md", "word", "line"),
        "plain",
        [],
        ["sources model.files.unread.md changed"],
    ),
    "the plugin's code": (
        ("site/letters_plugin.py", "import time", "import time  # of day"),
        "plain",
        ["shout upper: plugin file letters_plugin.py changed"],
        [],
    ),
    "the plugin's version": (
        ("site/letters-1.0.dist-info/METADATA", "Version: 1.0", "Version: 1.0.1"),
        "plain",
        ["shout upper: plugin version changed: 1.0 → 1.0.1"],
        [],
    ),
    "the record's revision": (
        ("site/letters_plugin.py", 'name="shout",', 'name="shout", revision=2,'),
        "plain",
        ["shout upper: the record's revision changed: 1 → 2", "shout upper: plugin file letters_plugin.py changed"],
        [],
    ),
    "a tool's version": (
        ("site/typewriter-3.1.dist-info/METADATA", "Version: 3.1", "Version: 3.2"),
        "plain",
        ["shout upper: tool typewriter changed: 3.1 → 3.2"],
        [],
    ),
    "a hardware field that is used": (
        ("site/benches_plugin.py", '["sse2"]', '["avx2"]'),
        "tiny",
        ["shorten tiny: hardware field cpu.features.0 changed: sse2 → avx2"],
        ["hardware cpu.features.0 changed: sse2 → avx2"],
    ),
    "a hardware field that no step uses": (
        ("site/benches_plugin.py", "cpu.cores = 4", "cpu.cores = 8"),
        "tiny",
        [],
        ["hardware cpu.cores changed: 4 → 8"],
    ),
    "a hardware field that nothing uses": (
        ("site/benches_plugin.py", "split_mib = 9", "split_mib = 8"),
        "tiny",
        [],
        [],
    ),
    "another profile of the same device": (
        ("build.toml", 'hardware = "bench"', 'hardware = "other"'),
        "plain",
        [],
        ["hardware profile changed: bench → other"],
    ),
    "the project's version": (
        ("build.toml", 'version = "1.0"', 'version = "1.1"'),
        "plain",
        [],
        ["project version changed: 1.0 → 1.1"],
    ),
    "the project's description": (
        ("build.toml", 'license = "MIT"', 'license = "MIT"\ndescription = "words"'),
        "plain",
        [],
        ["project description is new (words)"],
    ),
    "the source's licence": (
        ("build.toml", 'uri = "words"', 'uri = "words"\nlicense = "MIT"'),
        "plain",
        [],
        ["sources model.licence is new (MIT)"],
    ),
    "the target's scheme": (
        ("build.toml", 'scheme = "tiny"', 'scheme = "short"'),
        "tiny",
        ["shorten short: scheme changed: tiny → short"],
        [],
    ),
    "the steps of a target": (
        ("build.toml", 'scheme = "tiny"', 'scheme = "upper"'),
        "tiny",
        [],
        [],
    ),
    "a comment in the build file": (("build.toml", "[target.tiny]", "# a word\n[target.tiny]"), "tiny", [], []),
    "nothing": (("build.toml", "words", "words"), "plain", [], []),
}
REBUILDS_ANYWAY = {"the steps of a target"}
GONE = {"the steps of a target": ["shorten tiny"]}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_named_and_nothing_else(bench: Bench, change: str) -> None:
    edit, target, steps, artifact = CHANGES[change]
    take_back = bench.edit(*edit)
    try:
        found = bench.explain(target)[target]
    finally:
        take_back()
    told = "\n".join(found["text"])
    shown = [
        f"{step['title']}: {word}"
        for step in found["reasons"]["steps"]
        for word in lines_of(told, step["title"])
        if not word.startswith("reads what ")
    ]
    assert [line for line in shown if not any(line.startswith(wanted) for wanted in steps)] == []
    assert len(shown) == len(steps), shown
    described = lines_of(told, "the artifact's description")
    assert len(described) == len(artifact), described
    assert all(line.startswith(wanted) for line, wanted in zip(described, artifact, strict=True))
    assert found["reasons"]["gone"] == GONE.get(change, [])
    assert found["up_to_date"] is not bool(steps or artifact or change in REBUILDS_ANYWAY), told


def lines_of(text: str, title: str) -> list[str]:
    """The indented lines under a step's title."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("    ") and inside:
            found.append(line.strip())
        else:
            inside = line == f"  {title}:"
    return found


def test_steps_that_follow_name_the_step_that_changes(bench: Bench) -> None:
    take_back = bench.edit("words/words.txt", "to be", "to do")
    try:
        steps = bench.explain("tiny")["tiny"]["reasons"]["steps"]
    finally:
        take_back()
    assert [(step["title"], step["follows"]) for step in steps] == [
        ("shout upper", []),
        ("shorten tiny", ["shout upper"]),
    ]


GGUF = """
[project]
name = "tiny"
version = "1.0"
license = "MIT"

[source.base]
uri = "model"

[defaults]
source = "base"
hardware = "bench"
format = "gguf"

[target.half]
scheme = "F16"

[target.small]
scheme = "Q8_0"

[sign]
mode = "none"
"""


def test_a_shard_and_a_tokenizer_are_named_and_what_is_to_run_is_what_then_runs(mill: Mill) -> None:
    model = make_checkpoint(mill.folder / "model", "llama", shards=2)
    mill.write(GGUF)
    assert mill.run("build").code == 0
    for name, edit in (("model-00002-of-00002.safetensors", flip), ("tokenizer.json", lengthen)):
        edit(model / name)
        explained = mill.run("explain", "--json").json()["targets"]
        named = [change["name"] for item in explained for change in item["reasons"]["steps"][0]["changes"]]
        assert named == [name, name]
        told = sorted({title for item in explained for title in item["to_run"]})
        done = mill.run("build")
        assert done.code == 0, done.err
        assert sorted(line.strip(" …") for line in done.err.splitlines() if line.endswith(" …")) == told
        assert told != []
    assert all(item["up_to_date"] for item in mill.run("explain", "--json").json()["targets"])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def test_a_target_with_another_name_is_known_by_its_steps(bench: Bench) -> None:
    take_back = bench.edit("build.toml", "[target.tiny]", "[target.small]")
    try:
        found = bench.explain("small")["small"]
    finally:
        take_back()
    assert (found["renamed_from"], found["to_run"], found["artifact"]) == ("tiny", [], "missing")


def test_a_result_that_the_store_lost_is_the_reason(bench: Bench) -> None:
    steps = bench.mill.folder / "store" / "steps"
    kept = {path: path.read_bytes() for path in steps.iterdir()}
    for path in kept:
        path.unlink()
    try:
        found = bench.explain("plain")["plain"]
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
    assert found["lost"] == ["shout upper"]
    assert found["reasons"]["steps"] == []


def test_what_a_tool_no_longer_says_of_itself_is_a_change() -> None:
    def built(**tool: str) -> Memory:
        package = {"module": "m", "distribution": "d", "version": "1", "digest": "0"}
        parts = {
            "record": {"kind": "converter", "name": "shout"},
            "scheme": "upper",
            "inputs": {"source": {"files": {}}, "inputs": {}},
            "plugin": package,
            "engine": package,
            "tools": [{"name": "typewriter", "version": "3.1", **tool}],
        }
        key = canonical.sha256(parts)
        return Memory(
            file="f", project="p", target="t", key=key, titles={key: "shout"}, components={key: parts}, artifact={}
        )

    found = reasons(built(licence="MIT"), built(), lambda digest: {})  # noqa: ARG005
    assert [str(change) for change in found.steps[0].changes] == ["tool typewriter's licence is gone (it was MIT)"]


def test_what_was_never_built_is_said_to_be_so(mill: Mill) -> None:
    mill.write(BUILD)
    done = mill.run("plan", "plain", "--why")
    assert "no earlier build of this target is remembered" in done.out
    assert mill.run("explain", "plian").code == 2


def test_a_build_elsewhere_in_the_same_store_is_compared_with(bench: Bench) -> None:
    other = bench.mill.write(BUILT.replace('recipe = "short.toml"', "length = 3"), "elsewhere/build.toml")
    (other.parent / "words").symlink_to(bench.mill.folder / "words")
    done = bench.mill.run("explain", "short", "-f", str(other))
    assert "option length changed: 4 → 3" in done.out
