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

    @property
    def site(self) -> Path:
        return next(self.python.parent.parent.glob("lib/python*/site-packages"))

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


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    install(make_interpreter(tmp_path / "interpreter"), "stamps", "3.1", {"stamps": PLUGIN})
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "words.txt").write_text("to be\n")
    shop = Workshop(python=tmp_path / "interpreter" / "bin" / "python", folder=tmp_path)
    make_wheel(shop.wheels, "tinytool", "1.0")
    make_wheel(shop.wheels, "tinytool", "2.0", ("tinyhelper>=1", "absent; extra == 'more'"))
    make_wheel(shop.wheels, "tinyhelper", "1.5")
    shop.write(STAMPS)
    return shop


def succeed(workshop: Workshop, *arguments: str) -> str:
    done = workshop.run(*arguments)
    assert done.code == 0, done.err
    return done.out


def test_tools_that_clash_live_in_one_build_each_in_an_environment_of_its_own(workshop: Workshop) -> None:
    succeed(workshop, "build")
    old, new = workshop.stamp("old"), workshop.stamp("new")
    assert (old["version"], new["version"]) == ("1.0", "2.0")
    assert old["python"] != new["python"]
    for seen in (old, new):
        assert seen["leaks"] == [], "what is installed beside the engine cannot be imported"
        assert (seen["own"], seen["path"]) == ("3.1", True)


def test_the_lock_pins_the_whole_closure_by_the_digests_of_the_wheels(workshop: Workshop) -> None:
    succeed(workshop, "lock")
    pins = workshop.lock()["toolchain"]["new"]["pin"]
    assert [(pin["name"], pin["version"]) for pin in pins] == [("tinyhelper", "1.5"), ("tinytool", "2.0")]
    assert pins[1]["requires"] == ["tinyhelper"]
    again = subprocess.run(
        ["sha256sum", *(str(workshop.wheels / pin["file"]) for pin in pins)], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in again.stdout.splitlines()] == [pin["sha256"] for pin in pins]
    assert workshop.environments() == [], "the lock alone makes none"
    assert succeed(workshop, "lock", "--check").startswith("build.lock stands for")


def test_the_sbom_lists_both_closures_and_what_each_step_used(workshop: Workshop) -> None:
    succeed(workshop, "build")
    bom = json.loads((workshop.folder / "dist/stamps/1.0/new/sbom.cdx.json").read_text())
    formula = bom["formulation"][0]
    tool = next(item for item in formula["components"] if item["name"] == "tinytool")
    pin = next(pin for pin in workshop.lock()["toolchain"]["new"]["pin"] if pin["name"] == "tinytool")
    assert (tool["purl"], tool["licenses"]) == ("pkg:pypi/tinytool@2.0", [{"expression": "MIT"}])
    assert tool["hashes"] == [{"alg": "SHA-256", "content": pin["sha256"]}]
    (task,) = formula["workflows"][0]["tasks"]
    assert {"ref": tool["bom-ref"]} in task["resourceReferences"]
    needs = {item["ref"]: item["dependsOn"] for item in bom["dependencies"]}
    assert needs[tool["bom-ref"]] == ["toolchain:new:pkg:pypi/tinyhelper@1.5"]


def test_a_second_build_asks_pip_for_nothing(workshop: Workshop) -> None:
    succeed(workshop, "build")
    made = {path: path.stat().st_mtime_ns for path in workshop.environments()}
    shutil.rmtree(workshop.folder / "store" / "steps")
    shutil.rmtree(workshop.wheels)
    succeed(workshop, "build", "--locked")
    assert {path: path.stat().st_mtime_ns for path in workshop.environments()} == made


def test_other_requirements_are_a_reason_that_explain_names(workshop: Workshop) -> None:
    succeed(workshop, "build")
    make_wheel(workshop.wheels, "tinytool", "1.1")
    workshop.edit_plugin("tinytool==1.0", "tinytool==1.1")
    refused = workshop.run("build", "old", "--locked")
    assert refused.code == 2
    assert "toolchain 'old' requires other packages than are pinned; run `modelmill lock`" in told(refused)
    explained = succeed(workshop, "explain", "old")
    assert "toolchain old's tinytool changed: 1.0 → 1.1" in explained
    assert "toolchain old's tinytool changed: 1.0 → 1.1" in succeed(workshop, "plan", "old", "--why")
    succeed(workshop, "build", "old")
    assert workshop.stamp("old")["version"] == "1.1"


def test_update_resolves_anew_and_a_lock_that_stands_does_not(workshop: Workshop) -> None:
    workshop.edit_plugin("tinytool==1.0", "tinytool<2")
    succeed(workshop, "lock")
    make_wheel(workshop.wheels, "tinytool", "1.9")
    succeed(workshop, "build", "old")
    assert workshop.stamp("old")["version"] == "1.0"
    assert "toolchain old" in json.loads(succeed(workshop, "lock", "--update", "--json"))["changed"]
    succeed(workshop, "build", "old")
    assert workshop.stamp("old")["version"] == "1.9"


def test_a_toolchain_that_is_not_pinned_is_refused_with_locked(workshop: Workshop) -> None:
    succeed(workshop, "lock", "base")
    refused = workshop.run("build", "--locked")
    assert refused.code == 2
    assert "build.lock: toolchain 'new' is not pinned for cpython-" in refused.err
    checked = workshop.run("lock", "--check")
    assert (checked.code, "run `modelmill lock`" in checked.out) == (2, True)


def test_a_wheel_that_is_not_the_pinned_one_is_not_installed(workshop: Workshop) -> None:
    succeed(workshop, "lock")
    make_wheel(workshop.wheels, "tinytool", "1.0", text="another tool")
    refused = workshop.run("build", "old")
    assert refused.code == 2
    assert "toolchain 'old': its environment cannot be made: a wheel is not what build.lock pins" in told(refused)
    assert workshop.environments() == []


def test_a_missing_environment_without_an_index_is_one_sentence_with_the_command(workshop: Workshop) -> None:
    succeed(workshop, "lock")
    wheels = workshop.wheels.rename(workshop.folder / "elsewhere")
    workshop.wheels.mkdir()
    refused = workshop.run("build", "old")
    assert refused.code == 2
    assert told(refused).endswith("run: modelmill lock --environments")
    shutil.rmtree(workshop.wheels)
    wheels.rename(workshop.wheels)
    succeed(workshop, "lock", "--environments")
    shutil.rmtree(workshop.wheels)
    succeed(workshop, "build")


def test_what_cannot_be_resolved_is_one_sentence_and_other_targets_are_built(workshop: Workshop) -> None:
    workshop.edit_plugin("tinytool==2.0", "tinytool==7")
    refused = workshop.run("build", "new")
    assert refused.code == 2
    assert "toolchain 'new': its requirements cannot be resolved: No matching distribution" in told(refused)
    succeed(workshop, "build", "old")


def test_a_failed_environment_fails_its_steps_alone(workshop: Workshop) -> None:
    succeed(workshop, "lock")
    make_wheel(workshop.wheels, "tinytool", "2.0", text="another tool")
    done = workshop.run("build", "--keep-going")
    assert done.code == 2
    assert workshop.stamp("old")["version"] == "1.0"
    assert not (workshop.folder / "dist/stamps/1.0/new").exists()


def test_a_changed_environment_is_made_again_with_a_warning(workshop: Workshop) -> None:
    succeed(workshop, "build", "old")
    (environment,) = workshop.environments()
    module = next(environment.glob("lib/python*/site-packages/tinytool.py"))
    module.write_text("raise SystemExit('tampered with')\n")
    shutil.rmtree(workshop.folder / "store" / "steps")
    done = workshop.run("build", "old")
    assert done.code == 0
    assert "toolchain 'old': its environment changed since it was made, so it is made again" in done.err
    assert "tampered" not in module.read_text()


def test_a_result_is_checked_where_its_formats_owner_has_its_tools(workshop: Workshop) -> None:
    workshop.edit_plugin('"own": importlib', '"bad": 1, "own": importlib')
    failed = workshop.run("build", "old")
    assert failed.code == 1
    assert "stamp.json: is bad" in told(failed)


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_creation_leaves_nothing_that_counts_and_the_next_build_makes_it(workshop: Workshop) -> None:
    succeed(workshop, "lock")
    build = subprocess.Popen(
        workshop.command("build", "new"), cwd=workshop.folder, env=workshop.environment(), stderr=subprocess.PIPE
    )
    wait_until(lambda: any(path.joinpath("pyvenv.cfg").exists() for path in workshop.environments()))
    build.send_signal(signal.SIGKILL)
    build.communicate()
    notes = list((workshop.folder / "store" / "environments").glob("*.json"))
    assert notes == [], "nothing says that it is whole"
    doctor = workshop.run("doctor", "--quick", "--json").json()["findings"]
    (finding,) = [item for item in doctor if item["name"] == "toolchain new"]
    assert (finding["state"], finding["mend"]) == ("missing", "modelmill lock --environments")
    succeed(workshop, "build", "new")
    assert workshop.stamp("new")["version"] == "2.0"


def test_two_builds_at_once_make_an_environment_once(workshop: Workshop) -> None:
    succeed(workshop, "lock")
    shutil.copytree(workshop.folder, workshop.folder / "twin", ignore=shutil.ignore_patterns("interpreter", "store"))
    builds = [
        subprocess.Popen(
            workshop.command("build", "new"), cwd=folder, env=workshop.environment(), stderr=subprocess.PIPE, text=True
        )
        for folder in (workshop.folder, workshop.folder / "twin")
    ]
    said = [build.communicate()[1] for build in builds]
    assert [build.returncode for build in builds] == [0, 0], said
    assert "".join(said).count("making its environment") == 1
    assert len(workshop.environments()) == 1


def test_doctor_shows_each_environment_and_what_mends_it(workshop: Workshop) -> None:
    def findings() -> dict[str, tuple[str, str, str]]:
        found = workshop.run("doctor", "--quick", "--json").json()["findings"]
        return {item["name"]: (item["state"], item["said"], item["mend"]) for item in found}

    state, said, mend = findings()["toolchain new"]
    assert (state, mend) == ("missing", "modelmill lock --environments")
    assert "not pinned" in said
    succeed(workshop, "build", "new")
    state, said, mend = findings()["toolchain new"]
    assert (state, mend) == ("good", "")
    assert said.startswith("2 packages, ")
    assert "used by stamp-new" in said
    (workshop.environments()[0] / "bin" / "python").unlink()
    assert findings()["toolchain new"][::2] == ("bad", "modelmill lock --environments")
    succeed(workshop, "lock", "--environments")
    assert findings()["toolchain new"][0] == "good"


def test_gc_removes_environments_that_no_remembered_build_needs(workshop: Workshop) -> None:
    succeed(workshop, "build")
    assert workshop.run("cache", "gc", "--json").json()["environments"] == []
    make_wheel(workshop.wheels, "tinytool", "1.1")
    workshop.edit_plugin("tinytool==1.0", "tinytool==1.1")
    succeed(workshop, "build")
    assert len(workshop.environments()) == 3
    assert workshop.run("cache", "stats", "--json").json()["environments"] == 3
    gone = workshop.run("cache", "prune", "--keep-last", "1", "--json").json()
    assert len(gone["environments"]) == 1
    assert gone["bytes"] > 10_000
    assert len(workshop.environments()) == 2


def test_rebuild_check_uses_the_environments_that_are_there(workshop: Workshop) -> None:
    succeed(workshop, "build")
    shutil.rmtree(workshop.wheels)
    assert "exact" in succeed(workshop, "rebuild", "--check", "old")
    assert len(workshop.environments()) == 2


FAULTS = {
    'name="old"': ('name="Old Tools"', "whose name is not small letters, digits and dashes"),
    '("tinytool==1.0",)': ("()", "that requires nothing"),
    '"tinytool==1.0"': ('"tinytool=1.0"', "'tinytool=1.0' is not a requirement"),
    "toolchain=toolchain": ('toolchain=toolchain,tools=("pip",)', "and with tools: its tools are what the toolchain"),
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
