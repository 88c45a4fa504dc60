"""Why a target would be built again: each kind of change is named and nothing else, and a build does what was told."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from interpreters import install

from modelmill.history.explain import reasons
from modelmill.history.memory import Memory
from modelmill.testing import make_checkpoint
from modelmill_artifacts import canonical

from .changes import CHANGES, GONE, REBUILDS_ANYWAY
from .conftest import BUILD, PLUGIN, TINY, Mill, lay_out_alone

BENCH_PLUGIN = '''
from letters_plugin import check_loud
from modelmill import Facts, Format, HardwareProfile, hookimpl
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
LOUD = "    yield Format(" + LETTERS.split("    yield Format(")[2]
RECIPED = (
    LETTERS.replace(LOUD, "")
    .replace("    length: int = 4\n", "    length: int = 4\n    recipe: Recipe | None = None\n")
    .replace("from modelmill import (", "from modelmill.recipe import Recipe\nfrom modelmill import (", 1)
)
BUILT = BUILD.replace('scheme = "short"', 'scheme = "short"\noptions = { recipe = "short.toml" }').replace(
    'mode = "none"', 'key = "release.pem"'
)
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
        self.write(file, text.replace(old, new))
        return lambda: self.write(file, text)

    def write(self, file: Path, text: str) -> None:
        # Python takes compiled code of another text of the same size and second for this one's.
        shutil.rmtree(self.site / "__pycache__", ignore_errors=True)
        file.write_text(text)

    def explain(self, *names: str) -> dict[str, Any]:
        done = self.mill.run("explain", *names, "--json")
        assert done.code == 0, done.err
        return {item["target"]: item for item in done.json()["targets"]}

    def build(self) -> tuple[list[str], set[str]]:
        """Build all targets; the titles of the steps that ran, and the targets whose artifacts were written."""
        done = self.mill.run("build")
        assert done.code == 0, done.err
        rows = [line for line in done.out.splitlines() if line.startswith("dist/words/")]
        return sorted(done.begun), {Path(row.split()[0]).name for row in rows if not row.endswith("up to date")}

    def artifacts(self) -> dict[tuple[str, str], dict[str, bytes]]:
        """Version and target → the files of the artifact."""
        found: dict[tuple[str, str], dict[str, bytes]] = {}
        for path, data in self.mill.files("dist/words").items():
            version, target, *rest = path.split("/")
            if rest:
                found.setdefault((version, target), {})["/".join(rest)] = data
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    mill = lay_out_alone(folder, RECIPED, "to be\n")
    install(mill.site, "benches", "1.0", {"benches": f"{BENCH_PLUGIN}@hookimpl\ndef modelmill_formats():\n{LOUD}"})
    install(mill.site, "typewriter", "3.1", {})
    mill.write("a word\n", "words/unread.md")
    for key in ("release.pem", "other.pem"):
        assert mill.run("keys", "new", key).code == 0
    mill.write(RECIPE, "short.toml")
    mill.write(BUILT)
    done = mill.run("build")
    assert done.code == 0, done.err
    return Bench(mill, mill.site)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_named_alone_and_a_build_does_what_was_foretold(bench: Bench, change: str) -> None:
    edit, target, _, _ = CHANGES[change]
    before = bench.artifacts()
    take_back = bench.edit(*edit)
    try:
        foretold, (ran, written), after = bench.explain(), bench.build(), bench.artifacts()
    finally:
        take_back()
        ran_again, _ = bench.build()
    assert_named(change, foretold[target])
    steps = {step["key"]: step["title"] for item in foretold.values() for step in item["reasons"]["steps"]}
    assert {name: item["to_run"] for name, item in foretold.items()} == {
        name: [step["title"] for step in item["reasons"]["steps"]] for name, item in foretold.items()
    }
    assert ran == sorted(steps.values())
    assert written == {name for name, item in foretold.items() if not item["up_to_date"]}
    assert written == {name for (version, name), files in after.items() if files != before.get((version, name))}
    assert ran_again == []
    assert {place: files for place, files in bench.artifacts().items() if place in before} == before


def test_another_key_under_the_same_name_is_named(bench: Bench) -> None:
    before = bench.artifacts()
    key, other = (bench.mill.folder / name for name in ("release.pem", "other.pem"))
    text = key.read_text()
    key.write_text(other.read_text())
    try:
        foretold, (ran, written) = bench.explain(), bench.build()
    finally:
        key.write_text(text)
        bench.build()
    assert ran == []
    assert written == set(foretold)
    for item in foretold.values():
        assert not item["up_to_date"]
        (line,) = lines_of("\n".join(item["text"]), "the artifact's description")
        assert line.startswith("key release.pem changed: ")
    assert bench.artifacts() == before


def assert_named(change: str, found: dict[str, Any]) -> None:
    """What is told of a target names the change, and no other."""
    _, _, steps, artifact = CHANGES[change]
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


def test_a_shard_and_a_tokenizer_are_named_and_what_is_to_run_is_what_then_runs(mill: Mill) -> None:
    model = make_checkpoint(mill.folder / "model", "llama", shards=2)
    mill.write(f'{TINY}[target.small]\nscheme = "Q8_0"\n')
    assert mill.run("build").code == 0
    for name, edit in (("model-00002-of-00002.safetensors", flip), ("tokenizer.json", lengthen)):
        edit(model / name)
        explained = mill.run("explain", "--json").json()["targets"]
        named = [change["name"] for item in explained for change in item["reasons"]["steps"][0]["changes"]]
        assert named == [name, name]
        told = sorted({title for item in explained for title in item["to_run"]})
        done = mill.run("build")
        assert done.code == 0, done.err
        assert sorted(done.begun) == told
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
