"""Steps in tool environments: clashing tools in one build, pinned, made whole or not at all, and explained."""

import json
import os
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from interpreters import install, make_interpreter
from wheels import make_wheel

from .conftest import Mill, told

PLUGIN = (Path(__file__).parent / "stamp_plugin.py").read_text()
STAMPS = """
[project]
name = "stamps"
version = "1.0"
license = "MIT"

[source.base]
uri = "words"
format = "words"

[defaults]
source = "base"
hardware = "bench"
format = "stamp"

[target.old]
scheme = "old"

[target.new]
scheme = "new"

[sign]
mode = "none"
"""


class Workshop(Mill):
    """A mill whose pip knows nothing but the wheels of one folder."""

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    def environment(self, **more: str) -> dict[str, str]:
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return super().environment(**{**offline, "PIP_TARGET": "/nonexistent", **more})

    def edit_plugin(self, old: str, new: str) -> None:
        path = self.site / "stamps_plugin.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def stamp(self, target: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"dist/stamps/1.0/{target}/stamp.json").read_text())
        return found

    def environments(self) -> list[Path]:
        return sorted(path for path in (self.folder / "store" / "environments").glob("*") if path.is_dir())

    def lock(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "build.lock").read_text())


def make_workshop(folder: Path) -> Workshop:
    install(make_interpreter(folder / "interpreter"), "stamps", "3.1", {"stamps": PLUGIN})
    (folder / "words").mkdir()
    (folder / "words" / "words.txt").write_text("to be\n")
    shop = Workshop(python=folder / "interpreter" / "bin" / "python", folder=folder)
    make_wheel(shop.wheels, "tinytool", "1.0")
    make_wheel(shop.wheels, "tinytool", "2.0", ("tinyhelper>=1", "absent; extra == 'more'"))
    make_wheel(shop.wheels, "tinyhelper", "1.5")
    shop.write(STAMPS)
    return shop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Nothing is pinned and nothing is built."""
    return make_workshop(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Both targets are built; for tests that change nothing."""
    shop = make_workshop(tmp_path_factory.mktemp("finished"))
    succeed(shop, "build")
    return shop


@pytest.fixture
def built(finished: Workshop, tmp_path: Path) -> Workshop:
    """A copy of one where both targets are built."""
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Workshop(python=tmp_path / "copy" / "interpreter" / "bin" / "python", folder=tmp_path / "copy")


@pytest.fixture
def locked(built: Workshop) -> Workshop:
    """All is pinned, and nothing is built."""
    shutil.rmtree(built.folder / "store")
    shutil.rmtree(built.folder / "dist")
    return built


def rename(workshop: Workshop, name: str, before: str = "build") -> None:
    """Give the build file another name, and its lock."""
    for suffix in (".toml", ".lock"):
        workshop.folder.joinpath(f"{before}{suffix}").rename(workshop.folder / f"{name}{suffix}")


def succeed(workshop: Workshop, *arguments: str) -> str:
    done = workshop.run(*arguments)
    assert done.code == 0, done.err
    return done.out


def test_tools_that_clash_live_in_one_build_each_in_an_environment_of_its_own(finished: Workshop) -> None:
    old, new = finished.stamp("old"), finished.stamp("new")
    assert (old["version"], new["version"]) == ("1.0", "2.0")
    assert old["python"] != new["python"]
    for seen in (old, new):
        assert seen["leaks"] == [], "what is installed beside the engine cannot be imported"
        assert (seen["own"], seen["path"]) == ("3.1", True)


def test_the_lock_pins_the_whole_closure_by_the_digests_of_the_wheels(finished: Workshop) -> None:
    pins = finished.lock()["toolchain"]["new"]["pin"]
    assert [(pin["name"], pin["version"]) for pin in pins] == [("tinyhelper", "1.5"), ("tinytool", "2.0")]
    assert pins[1]["requires"] == ["tinyhelper"]
    again = subprocess.run(
        ["sha256sum", *(str(finished.wheels / pin["file"]) for pin in pins)], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in again.stdout.splitlines()] == [pin["sha256"] for pin in pins]
    assert succeed(finished, "lock", "--check").startswith("build.lock stands for")


def test_the_sbom_lists_both_closures_and_what_each_step_used(finished: Workshop) -> None:
    text = (finished.folder / "dist/stamps/1.0/new/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    formula = bom["formulation"][0]
    tool = next(item for item in formula["components"] if item["name"] == "tinytool")
    pin = next(pin for pin in finished.lock()["toolchain"]["new"]["pin"] if pin["name"] == "tinytool")
    assert (tool["purl"], tool["licenses"]) == ("pkg:pypi/tinytool@2.0", [{"expression": "MIT"}])
    assert tool["hashes"] == [{"alg": "SHA-256", "content": pin["sha256"]}]
    (task,) = formula["workflows"][0]["tasks"]
    assert {"ref": tool["bom-ref"]} in task["resourceReferences"]
    needs = {item["ref"]: item["dependsOn"] for item in bom["dependencies"]}
    assert needs[tool["bom-ref"]] == ["toolchain:new:pkg:pypi/tinyhelper@1.5"]


def test_a_second_build_asks_pip_for_nothing(built: Workshop) -> None:
    made = {path: path.stat().st_mtime_ns for path in built.environments()}
    shutil.rmtree(built.folder / "store" / "steps")
    shutil.rmtree(built.wheels)
    succeed(built, "build", "--locked")
    assert {path: path.stat().st_mtime_ns for path in built.environments()} == made


def test_other_requirements_are_a_reason_that_explain_names(built: Workshop) -> None:
    make_wheel(built.wheels, "tinytool", "1.1")
    built.edit_plugin("tinytool==1.0", "tinytool==1.1")
    refused = built.run("build", "old", "--locked")
    assert refused.code == 2
    assert "toolchain 'old' requires other packages than are pinned; run `modelmill lock`" in told(refused)
    pinned = built.lock()
    explained = succeed(built, "explain", "old")
    assert "toolchain old's tinytool changed: 1.0 → 1.1" in explained
    assert "toolchain old's tinytool changed: 1.0 → 1.1" in succeed(built, "plan", "old", "--why")
    assert "build.lock does not stand for toolchain old; `modelmill lock`" in built.run("plan", "old", "--json").err
    assert built.lock() == pinned, "who only looks writes nothing"
    succeed(built, "build", "old")
    assert built.stamp("old")["version"] == "1.1"


def test_update_resolves_anew_and_a_lock_that_stands_does_not(locked: Workshop) -> None:
    locked.edit_plugin("tinytool==1.0", "tinytool<2")
    assert json.loads(succeed(locked, "lock", "--json"))["changed"] == ["toolchain old"]
    make_wheel(locked.wheels, "tinytool", "1.9")
    assert json.loads(succeed(locked, "lock", "--json"))["changed"] == []
    assert json.loads(succeed(locked, "lock", "--update", "--json"))["changed"] == ["toolchain old"]
    assert [pin["version"] for pin in locked.lock()["toolchain"]["old"]["pin"]] == ["1.9"]
    assert locked.environments() == [], "a lock alone makes none"


def test_a_constraint_counts_where_versions_are_chosen_and_not_where_they_are_pinned(workshop: Workshop) -> None:
    workshop.edit_plugin("tinytool==1.0", "tinytool")
    constraints = workshop.folder / "constraints.txt"
    environment = workshop.environment(PIP_CONSTRAINT=str(constraints))
    for constraint in ("tinytool==1.0", "tinytool==7"):
        constraints.write_text(f"{constraint}\n")
        shutil.rmtree(workshop.folder / "store", ignore_errors=True)
        command = workshop.command("build", "old")
        done = subprocess.run(
            command, cwd=workshop.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert workshop.stamp("old")["version"] == "1.0"


def test_a_toolchain_that_is_not_pinned_is_refused_with_locked(workshop: Workshop) -> None:
    succeed(workshop, "lock", "base")
    refused = workshop.run("build", "--locked")
    assert refused.code == 2
    assert "build.lock: toolchain 'new' is not pinned for cpython-" in refused.err
    checked = workshop.run("lock", "--check")
    assert (checked.code, "run `modelmill lock`" in checked.out) == (2, True)


HOSTILE = {
    'version = "1.0"': 'version = "1.0\\n--index-url http://127.0.0.1/"',
    'name = "tinytool"': 'name = "../tinytool"',
    'sha256 = "': 'sha256 = "0 --hash=sha256:',
}


@pytest.mark.parametrize("edit", HOSTILE)
def test_a_lock_that_would_give_pip_other_words_is_refused(locked: Workshop, edit: str) -> None:
    path = locked.folder / "build.lock"
    head, mark, pins = path.read_text().partition('[toolchain."old"]')
    assert edit in pins
    path.write_text(f"{head}{mark}{pins.replace(edit, HOSTILE[edit])}")
    refused = locked.run("plan", "old")
    assert refused.code == 2
    assert "is no pinned distribution" in told(refused)


BUILD_FILES = {"build": "modelmill lock", "wide": "modelmill lock -f wide.toml"}


@pytest.mark.parametrize("file", BUILD_FILES)
def test_a_wheel_that_is_not_the_pinned_one_is_not_installed(locked: Workshop, file: str) -> None:
    make_wheel(locked.wheels, "tinytool", "1.0", text="another tool")
    rename(locked, file)
    refused = locked.run("build", "old", "-f", f"{file}.toml")
    assert refused.code == 2
    assert "toolchain 'old': its environment cannot be made: a wheel is not what the lock pins" in told(refused)
    assert told(refused).endswith(f"pin it with `{BUILD_FILES[file]} --update`")
    assert locked.environments() == []


@pytest.mark.parametrize("file", BUILD_FILES)
def test_a_missing_environment_without_an_index_is_one_sentence_with_the_command(locked: Workshop, file: str) -> None:
    wheels = locked.wheels.rename(locked.folder / "elsewhere")
    locked.wheels.mkdir()
    rename(locked, file)
    refused = locked.run("build", "old", "-f", f"{file}.toml")
    assert refused.code == 2
    assert told(refused).endswith(f"run: {BUILD_FILES[file]} --environments")
    rename(locked, "build", before=file)
    shutil.rmtree(locked.wheels)
    wheels.rename(locked.wheels)
    succeed(locked, "lock", "--environments")
    shutil.rmtree(locked.wheels)
    succeed(locked, "build")


def test_what_cannot_be_resolved_is_one_sentence_and_other_targets_are_built(built: Workshop) -> None:
    built.edit_plugin("tinytool==2.0", "tinytool==7")
    refused = built.run("build", "new")
    assert refused.code == 2
    assert "toolchain 'new': its requirements cannot be resolved: No matching distribution" in told(refused)
    succeed(built, "build", "old")


def test_a_failed_environment_fails_its_steps_alone(locked: Workshop) -> None:
    make_wheel(locked.wheels, "tinytool", "2.0", text="another tool")
    done = locked.run("build", "--keep-going")
    assert done.code == 2
    assert locked.stamp("old")["version"] == "1.0"
    assert not (locked.folder / "dist/stamps/1.0/new").exists()


def test_a_changed_environment_is_made_again_with_a_warning(built: Workshop) -> None:
    before = {path.name for path in built.environments()}
    (module,) = built.folder.glob("store/environments/*/lib/python*/site-packages/tinyhelper.py")
    module.write_text("raise SystemExit('tampered with')\n")
    shutil.rmtree(built.folder / "store" / "steps")
    done = built.run("build", "new")
    assert done.code == 0
    assert "toolchain 'new': its environment changed since it was made, so it is made again" in done.err
    assert "tampered" not in module.read_text()
    assert {path.name for path in built.environments()} == before


def test_offline_asks_no_index(locked: Workshop) -> None:
    refused = locked.run("build", "old", "--offline")
    assert refused.code == 2
    assert "its environment is not in the store, and --offline fetches nothing" in told(refused)
    (locked.folder / "build.lock").unlink()
    refused = locked.run("build", "old", "--offline")
    assert "toolchain 'old': build.lock does not pin it for " in told(refused)


def test_the_kit_runs_a_record_in_its_environment(built: Workshop) -> None:
    code = (
        "from pathlib import Path\nfrom modelmill.testing.steps import convert\n"
        "convert('stamps_plugin', 'stamp-new', 'new', Path('words').absolute(), Path('made').absolute())\n"
    )
    subprocess.run([built.python, "-c", code], cwd=built.folder, env=built.environment(), check=True)
    assert json.loads((built.folder / "made" / "stamp.json").read_text())["version"] == "2.0"


def test_a_result_is_checked_where_its_formats_owner_has_its_tools(locked: Workshop) -> None:
    locked.edit_plugin('"own": importlib', '"bad": 1, "own": importlib')
    failed = locked.run("build", "old")
    assert failed.code == 1
    assert "stamp.json: is bad" in told(failed)


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_creation_leaves_nothing_that_counts_and_the_next_build_makes_it(
    locked: Workshop, kill: signal.Signals
) -> None:
    build = subprocess.Popen(
        locked.command("build", "new"), cwd=locked.folder, env=locked.environment(), stderr=subprocess.PIPE
    )
    wait_until(lambda: any(path.joinpath("pyvenv.cfg").exists() for path in locked.environments()))
    build.send_signal(kill)
    build.communicate()
    notes = list((locked.folder / "store" / "environments").glob("*.json"))
    assert notes == [], "nothing says that it is whole"
    assert kill is signal.SIGKILL or locked.environments() == []
    doctor = locked.run("doctor", "--quick", "--json").json()["findings"]
    (finding,) = [item for item in doctor if item["name"] == "toolchain new"]
    assert (finding["state"], finding["mend"]) == ("missing", "modelmill lock --environments")
    succeed(locked, "build", "new")
    assert locked.stamp("new")["version"] == "2.0"


def test_two_builds_at_once_make_an_environment_once(locked: Workshop) -> None:
    shutil.copytree(locked.folder, locked.folder / "twin", ignore=shutil.ignore_patterns("interpreter", "store"))
    builds = [
        subprocess.Popen(
            locked.command("build", "new"), cwd=folder, env=locked.environment(), stderr=subprocess.PIPE, text=True
        )
        for folder in (locked.folder, locked.folder / "twin")
    ]
    said = [build.communicate()[1] for build in builds]
    assert [build.returncode for build in builds] == [0, 0], said
    assert "".join(said).count("making its environment") == 1
    assert len(locked.environments()) == 1


def test_doctor_shows_each_environment_and_what_mends_it(built: Workshop) -> None:
    def finding() -> tuple[str, str, str]:
        found = built.run("doctor", "--quick", "--json").json()["findings"]
        return next((item["state"], item["said"], item["mend"]) for item in found if item["name"] == "toolchain new")

    state, said, mend = finding()
    assert (state, mend) == ("good", "")
    assert said.startswith("2 packages, ")
    assert "used by stamp-new" in said
    for environment in built.environments():
        (environment / "bin" / "python").unlink()
    assert finding()[::2] == ("bad", "modelmill lock --environments")
    shutil.rmtree(built.folder / "store")
    state, said, mend = finding()
    assert (state, mend) == ("missing", "modelmill lock --environments")
    assert said.startswith("2 packages pinned, and their environment is not made yet")
    (built.folder / "build.lock").unlink()
    state, said, mend = finding()
    assert (state, mend) == ("missing", "modelmill lock --environments")
    assert said.startswith("not pinned in build.lock")


def test_gc_removes_environments_that_no_remembered_build_needs(built: Workshop) -> None:
    assert built.run("cache", "stats", "--json").json()["environments"] == 2
    assert built.run("cache", "gc", "--json").json()["environments"] == []
    (use,) = [path for path in built.folder.glob("store/uses/*.json") if '"target": "old"' in path.read_text()]
    use.unlink()
    gone = built.run("cache", "gc", "--json").json()
    assert len(gone["environments"]) == 1
    assert gone["bytes"] > 1_000
    assert len(built.environments()) == 1
    succeed(built, "cache", "prune", "--max-size", "1")
    assert built.environments() == []


def test_rebuild_check_uses_the_environments_that_are_there(built: Workshop) -> None:
    shutil.rmtree(built.wheels)
    assert "exact" in succeed(built, "rebuild", "--check", "old")
    assert len(built.environments()) == 2


FAULTS = {
    'name="old"': ('name="Old Tools"', "whose name is not small letters, digits and dashes"),
    '("tinytool==1.0",)': ("()", "that requires nothing"),
    '"tinytool==1.0"': ('"tinytool=1.0"', "'tinytool=1.0' is not a requirement"),
    "toolchain=toolchain": ('toolchain=toolchain,tools=("pip",)', "and with tools: its tools are what the toolchain"),
    "estimate=estimate": (
        "estimate=estimate,more_tools=lambda outlook, facts: {}",
        "and with tools: its tools are what the toolchain",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_toolchain_that_cannot_be_is_told_as_its_plugins_fault(workshop: Workshop, fault: str) -> None:
    edit, sentence = FAULTS[fault]
    workshop.edit_plugin(fault, edit)
    listed = workshop.run("plugins")
    assert listed.code == 1
    assert sentence in listed.err
    assert "stamps 3.1" in listed.err


def test_one_name_for_two_toolchains_names_both_plugins(workshop: Workshop) -> None:
    other = PLUGIN.replace('"tinytool==1.0"', '"tinytool==2.0"').replace('f"stamp-', 'f"mark-')
    for record in ("formats", "hardware"):
        other = other.replace(f"@implements\ndef modelmill_{record}", f"def other_{record}")
    install(workshop.site, "marks", "1.0", {"marks": other})
    workshop.write(STAMPS.replace('scheme = "old"', 'scheme = "old"\nconverter = "stamp-old"'))
    refused = workshop.run("build", "old")
    assert refused.code == 1
    assert "marks 1.0 and stamps 3.1 mean different requirements by the toolchain 'old'" in told(refused)


def test_two_versions_of_one_package_from_the_index(workshop: Workshop) -> None:
    """As users have it: pip's own settings, a real package."""
    workshop.edit_plugin("tinytool==1.0", "six==1.16.0")
    workshop.edit_plugin("tinytool==2.0", "six==1.17.0")
    workshop.edit_plugin('TOOL = "tinytool"', 'TOOL = "six"')
    index = {name: os.environ.get(name, "") for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE")}
    done = subprocess.run(
        workshop.command("build"),
        cwd=workshop.folder,
        env={name: value for name, value in workshop.environment(**index).items() if value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [workshop.stamp(name)["version"] for name in ("old", "new")] == ["1.16.0", "1.17.0"]
