"""Profiles as commands show them, and a machine that says what it is and what it lacks."""

import platform
from pathlib import Path

import pytest
from interpreters import install, make_interpreter

from modelmill.hardware.machine import detect, features, level
from modelmill.hardware.profile import matching, profile_toml
from modelmill.hardware.schema import load_profile

from .conftest import PLUGIN, Mill

BASE = 'description = "d"\nos.family = "linux"\nos.arch = "amd64"\n'
TEXTS = {
    "v1": BASE,
    "v3": f'{BASE}inherits = ["v1"]\ncpu.features = ["avx2"]\n',
    "v4": f'{BASE}inherits = ["v3"]\ncpu.features = ["avx512f"]\n',
    "arm": BASE.replace("amd64", "arm64"),
    "board": f"{BASE}memory.total_mib = 100\n",
    "card": f'{BASE}accelerator.kind = "cuda"\n',
}


def test_a_machine_matches_the_widest_instruction_sets_that_it_implements() -> None:
    machine = {"os.family": "linux", "os.arch": "amd64", "cpu.features": ["avx2", "sse2"]}
    assert matching(machine, TEXTS) == ("v3",)
    assert matching({**machine, "cpu.features": ["avx2", "avx512f"]}, TEXTS) == ("v4",)
    assert matching({**machine, "os.arch": "arm64"}, TEXTS) == ("arm",)


def test_features_are_those_that_every_core_has(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("flags : avx avx2 sse2\nflags : avx sse2\n")
    assert features(tmp_path / "cpuinfo") == ["avx", "sse2"]


def test_a_level_needs_all_levels_below_it() -> None:
    third = ["popcnt", "sse4_1", "sse4_2", "ssse3", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"]
    assert level({"os.arch": "amd64", "cpu.features": third}) == "x86_64_v3"
    assert level({"os.arch": "amd64", "cpu.features": third[1:]}) == "x86_64"
    assert level({"os.arch": "arm64", "cpu.features": []}) is None


def test_what_is_detected_is_a_profile() -> None:
    machine = detect()
    found = load_profile("here", {**TEXTS, "here": profile_toml(machine, TEXTS)}).fields
    assert found["os.arch"] == {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    assert 0 < found["memory.budget_mib"] < found["memory.total_mib"]
    assert set(found["cpu.features"]) <= set(machine["cpu.features"])


def test_profiles_are_listed_shown_and_detected(mill: Mill) -> None:
    listed = mill.run("hardware", "list", "--json").json()["profiles"]
    assert {"bench", "raspberry-pi-5"} <= {item["name"] for item in listed}
    assert "x86-64-v3" in mill.run("hardware", "list").out
    assert "memory.total_mib" in mill.run("hardware", "show", "raspberry-pi-5").out
    assert mill.run("hardware", "show", "bench", "--json").json()["os.arch"] == "amd64"
    done = mill.run("hardware", "show", "bensh")
    assert (done.code, "did you mean 'bench'?" in done.err) == (2, True)
    assert mill.run("hardware", "detect", "-o", "here.toml").code == 0
    assert "[cpu]" in (mill.folder / "here.toml").read_text()
    again = mill.run("hardware", "detect", "-o", "here.toml")
    assert (again.code, "is not overwritten" in again.err) == (2, True)


@pytest.fixture
def patient(tmp_path: Path) -> Mill:
    """An installation with a broken plugin, a tool that is missing, and one that cannot be loaded."""
    site = make_interpreter(tmp_path / "interpreter")
    tools = 'tools=("abacus", "crooked"),\n        requirement="letters[abacus]",\n        name="shout",'
    install(site, "letters", "1.0", {"letters": PLUGIN.read_text().replace('name="shout",', tools, 1)})
    install(site, "cracked", "1.0", {"cracked": "import nonsuch"})
    install(site, "crooked", "2.0", {})
    (site / "crooked").mkdir()
    (site / "crooked" / "__init__.py").write_text("raise RuntimeError('bent')")
    (site / "crooked-2.0.dist-info" / "RECORD").write_text("crooked/__init__.py,,\n")
    return Mill(python=tmp_path / "interpreter" / "bin" / "python", folder=tmp_path)


def test_doctor_tells_what_is_broken_and_what_mends_it(patient: Mill) -> None:
    done = patient.run("doctor", "--json")
    found = {item["name"]: item for item in done.json()["findings"]}
    assert done.code == 1
    assert found["plugin cracked"]["state"] == "bad"
    assert "No module named 'nonsuch'" in found["plugin cracked"]["said"]
    assert (found["tool abacus"]["state"], found["tool abacus"]["mend"]) == (
        "missing",
        "pip install 'letters[abacus]'",
    )
    assert found["tool crooked"]["state"] == "bad"
    assert "RuntimeError: bent" in found["tool crooked"]["said"]
    assert found["tool gguf"]["state"] in ("good", "missing")
    assert found["store"]["said"].endswith("GiB free")


def test_doctor_loads_the_libraries_of_a_tool_that_is_nothing_else() -> None:
    import importlib.metadata

    from modelmill.doctor import _fault

    pytest.importorskip("libggml")
    assert _fault(importlib.metadata.distribution("libggml-python")) is None
