"""Tables of build.toml that plugins read: a stranger's packager has one as the built-in ones have theirs."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from interpreters import install

from modelmill import PackageJob, Packager, Publication, Published, Pulled, PullJob, Remote
from modelmill.config.records import Document
from modelmill.registry import OWN, load, table_fault

from .conftest import BUILD, PLUGIN, Mill, lay_out_alone

CRATES = (Path(__file__).parent / "crates_plugin.py").read_text()
GREEDY = CRATES.replace('package=package, table="crate"', 'package=package, table="sign"')


@pytest.fixture(scope="module")
def crates(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    """A folder with artifacts, and an interpreter with packagers that nobody here has heard of."""
    folder = tmp_path_factory.mktemp("crates")
    mill = lay_out_alone(folder, PLUGIN.read_text())
    install(mill.site, "crates", "2.0", {"crates": CRATES})
    mill.write(BUILD)
    assert mill.run("build").code == 0
    return mill


def packaged(mill: Mill, form: str, verb: str = "package") -> Any:
    """The options that a packager was given."""
    done = mill.run(verb, "plain", "--as", form, "-o", "packed")
    assert done.code == 0, done.err
    return json.loads((mill.folder / "packed" / "options.json").read_text())


def faults(mill: Mill, text: str, *command: str) -> list[str]:
    mill.write(text)
    done = mill.run(*(command or ("plan",)))
    assert done.code == 2, done.err
    return [line.removeprefix("modelmill: ") for line in done.err.splitlines()]


def line(text: str, what: str) -> int:
    return text[: text.index(what)].count("\n") + 1


def test_a_strangers_table_fills_the_options_of_its_packagers(crates: Mill) -> None:
    crates.write(BUILD)
    assert packaged(crates, "crate") == {"lid": {"colour": "red"}, "nails": 4, "wood": "pine"}
    crates.write(BUILD + '\n[crate]\nwood = "oak"\n[crate.lid]\ncolour = "blue"\n')
    assert packaged(crates, "crate") == {"lid": {"colour": "blue"}, "nails": 4, "wood": "oak"}
    assert packaged(crates, "pallet", "deploy") == {"lid": {"colour": "blue"}, "nails": 4, "wood": "oak"}


WRONG = '\n[crate]\nwod = "oak"\nwood = "teak"\nnails = "four"\nlid = { color = "blue" }\n\n[image]\nbass = "x"\n'
TOLD = {
    'wod = "oak"': "unknown key 'wod'; did you mean 'wood'?",
    'wood = "teak"': "'wood' cannot be 'teak'; there is oak, pine",
    'nails = "four"': "'nails' must be a whole number, not a string ('four')",
    "lid = {": "unknown key 'color'; did you mean 'colour'?",
    "bass =": "unknown key 'bass'; did you mean 'base'?",
    "licence =": "unknown key 'licence'; did you mean 'license'?",
}


@pytest.mark.parametrize("command", ["plan", "lock", "package plain --as box", "publish yard://here"])
def test_all_mistakes_in_plugins_tables_and_in_the_files_own_are_told_at_once(crates: Mill, command: str) -> None:
    text = BUILD.replace('license = "MIT"', 'licence = "MIT"') + WRONG
    assert faults(crates, text, *command.split()) == [
        f"build.toml:{number}: {message}"
        for number, message in sorted((line(text, what), message) for what, message in TOLD.items())
    ]


@pytest.mark.parametrize(("written", "kind"), [("crate = 3", "a whole number (3)"), ("[[crate]]", "a list ([{}])")])
def test_a_key_that_is_no_table_where_a_plugin_has_one_is_told(crates: Mill, written: str, kind: str) -> None:
    text = f"{BUILD}\n[[crate]]\n" if written == "[[crate]]" else f"{written}\n{BUILD}"
    assert faults(crates, text) == [f"build.toml:{line(text, written)}: 'crate' must be a table, not {kind}"]


def test_a_table_that_nobody_reads_is_told_with_all_that_somebody_does(crates: Mill, mill: Mill) -> None:
    text = BUILD + "\n[crat]\n\n[zeppelin]\n"
    there = "box, crate, defaults, deploy, image, modelpack, policy, project, sign, source, target, yard"
    assert faults(crates, text) == [
        f"build.toml:{line(text, '[crat]')}: unknown key 'crat'; did you mean 'crate'?",
        f"build.toml:{line(text, '[zeppelin]')}: unknown key 'zeppelin'; there is {there}",
    ]
    # Where the plugin is not installed its table is one of these.
    text = BUILD + "\n[crate]\n"
    there = "defaults, deploy, image, modelpack, policy, project, sign, source, target"
    assert faults(mill, text) == [f"build.toml:{line(text, '[crate]')}: unknown key 'crate'; there is {there}"]


def test_packagers_that_share_a_table_each_take_all_of_it(crates: Mill) -> None:
    crates.write(BUILD + '\n[box]\naddress = "here"\n')
    assert packaged(crates, "box") == {"address": "here", "wood": ""}
    text = BUILD + '\n[box]\ncolour = "blue"\n'
    crates.write(text)
    assert packaged(crates, "chest") == {"colour": "blue"}
    assert faults(crates, text, "package", "plain", "--as", "box") == [
        f"build.toml:{line(text, '[box]')}: 'address' is missing",
        f"build.toml:{line(text, 'colour')}: unknown key 'colour'; there is address, wood",
    ]
    # What none of them takes is a mistake in the file; it was meant for the one that it comes nearest to.
    text = BUILD + '\n[box]\naddress = "here"\nwod = "oak"\n'
    assert faults(crates, text) == [f"build.toml:{line(text, 'wod')}: unknown key 'wod'; did you mean 'wood'?"]


def test_an_option_that_must_be_said_is_missed_where_the_table_is_not_there(crates: Mill) -> None:
    crates.write(BUILD)
    assert crates.run("plan").code == 0
    assert faults(crates, BUILD, "package", "plain", "--as", "box") == [
        "build.toml: there is no [box] table, of which 'box' takes its options: 'address' is missing"
    ]


def test_what_the_options_themselves_refuse_has_its_line_and_what_they_raise_its_plugin(crates: Mill) -> None:
    text = BUILD + "\n[crate]\nnails = -1\n"
    assert faults(crates, text) == [f"build.toml:{line(text, '[crate]')}: nobody has fewer nails than none"]
    crates.write(BUILD + "\n[crate]\nnails = 100\n")
    done = crates.run("plan")
    assert (done.code, done.err) == (
        1,
        "modelmill: crates 2.0: the packager 'crate' fails to read [crate]: ZeroDivisionError: too many\n",
    )


def test_a_strangers_remote_reads_a_table_too_and_may_look_into_the_files_own(crates: Mill) -> None:
    text = BUILD + '\n[yard]\ncolour = "green"\n'
    crates.write(text)
    assert crates.run("publish", "yard://here").code == 0
    told = json.loads((crates.folder / "published.json").read_text())
    assert told == {"project": {"license": "MIT", "name": "words", "version": "1.0"}, "yard": {"colour": "green"}}
    assert faults(crates, text.replace("colour", "color")) == [
        f"build.toml:{line(text, 'colour')}: unknown key 'color'; did you mean 'colour'?"
    ]


def test_the_schema_has_the_tables_of_what_is_installed(crates: Mill) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = crates.run("schema").json()
    jsonschema.Draft202012Validator.check_schema(found)
    project = {"project": {"name": "a", "version": "1"}, "source": {}, "target": {}}

    def accepts(tables: dict[str, Any]) -> bool:
        return bool(jsonschema.Draft202012Validator(found).is_valid({**project, **tables}))

    assert accepts({"crate": {"wood": "oak", "lid": {"colour": "blue"}}, "box": {"address": "here"}, "image": {}})
    assert accepts({"box": {"colour": "blue"}, "yard": {"colour": "blue"}})
    for wrong in ({"wod": "oak"}, {"wood": "teak"}, {"nails": "four"}, {"lid": {"color": "blue"}}):
        assert not accepts({"crate": wrong})
    assert not accepts({"box": {"wod": "oak", "address": "here"}})
    assert not accepts({"image": {"bass": "x"}})
    assert not accepts({"zeppelin": {}})
    (crate,) = (item for name, item in found["$defs"].items() if name.endswith(".Crate"))
    assert crate["description"] == "What a crate is made of."
    assert crate["properties"]["wood"] == {"description": "The kind of wood.", "enum": ["oak", "pine"]}


def test_a_packager_that_takes_one_of_the_files_own_tables_is_broken_and_named(tmp_path: Path) -> None:
    mill = lay_out_alone(tmp_path, PLUGIN.read_text(), "to be\n")
    install(mill.site, "greedy", "3.0", {"greedy": GREEDY})
    mill.write(BUILD)
    assert mill.run("build", "plain").code == 0
    said = (
        "offers the packager 'crate' with the table 'sign', which is a key of build.toml's own; it needs another name"
    )
    listed = mill.run("plugins")
    assert (listed.code, listed.err) == (1, f"broken: greedy 3.0: plugin 'greedy' {said}\n")
    finding = {item["name"]: item for item in mill.run("doctor", "--quick", "--json").json()["findings"]}
    assert (finding["plugin greedy"]["state"], finding["plugin greedy"]["said"]) == ("bad", f"greedy 3.0 {said}")
    assert "nothing can package as 'crate'" in mill.run("package", "plain", "--as", "crate").err


def test_every_option_of_the_packagers_that_come_along_can_be_said() -> None:
    offers = load().packagers.all()
    assert [offer.record.name for offer in offers if fields(offer.record.options) and not offer.record.table] == []


def test_the_tables_that_no_packager_may_have_are_the_files_own() -> None:
    assert set(OWN) == {item.name for item in fields(Document)}


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class Unreadable:
    where: "Nowhere" = None  # type: ignore[name-defined]  # noqa: F821


def never(job: PackageJob[Any]) -> None:
    raise AssertionError(job)


def pulled(job: PullJob[Any]) -> Pulled:
    raise AssertionError(job)


def published(job: Publication[Any]) -> Published:
    raise AssertionError(job)


def packager(options: type[Any], table: str) -> Packager[Any]:
    return Packager(name="p", formats=(), options=options, package=never, table=table)


def remote(table: str) -> Remote[Any]:
    return Remote(scheme="r", options=Named, publish=published, pull=pulled, tables=(table,))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (packager(Named, "two words"), "with the table 'two words', whose name is not small letters and digits"),
        (packager(Named, "a.b"), "with the table 'a.b', whose name is not"),
        (packager(Named, ""), "with the option 'name', which has no default, and with no table that says it"),
        (packager(Unreadable, "p"), "with options that no table can fill: NameError: "),
        (packager(dict, "p"), "with options that no table can fill: TypeError: "),
        (remote("place"), "with the table 'place', and its options have no field 'place'"),
        (packager(Named, "p"), None),
        (remote("name"), None),
        *((packager(Named, name), f"with the table {name!r}, which is a key of build.toml's own") for name in OWN),
    ],
)
def test_a_table_or_options_that_cannot_be_are_the_plugins_fault(record: Any, told: str | None) -> None:
    found = table_fault(record)
    title = "packager 'p'" if isinstance(record, Packager) else "remote 'r'"
    assert (found or "").startswith(f"offers the {title} {told}" if told else "")
    assert (found is None) == (told is None)
