import tomllib

import pytest

from modelmill import registry
from modelmill.hardware.machine import level
from modelmill.hardware.schema import ancestors, load_profile
from modelmill.hardware.suitability import suitability
from modelmill_targets import modelmill_hardware

TEXTS = {profile.name: profile.toml for profile in modelmill_hardware()}


def test_the_dozen_is_there() -> None:
    assert set(TEXTS) == {
        "android-arm64",
        "apple-m1",
        "apple-m2",
        "apple-m4",
        "generic-arm64",
        "jetson-orin-nano",
        "nvidia-h100",
        "nvidia-l4",
        "raspberry-pi-5",
        "snapdragon-x-elite",
        "x86-64-v3",
        "x86-64-v4-avx512-vnni",
    }


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_profile_is_sound_and_says_where_its_figures_come_from(name: str) -> None:
    fields = load_profile(name, TEXTS).fields
    own = tomllib.loads(TEXTS[name])
    assert fields["name"] == name
    for table in ("cpu", "memory", "accelerator"):
        has_figures = any(isinstance(value, int | float) for value in own.get(table, {}).values())
        if has_figures and any(own[table].values()):
            assert f"evidence.{table}" in fields or "evidence.cpu" in fields, table
            assert table in own.get("evidence", {}) or table == "accelerator" or own.get("inherits"), table
    assert fields["evidence.runtime"]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_budget_leaves_something_to_the_system(name: str) -> None:
    fields = load_profile(name, TEXTS).fields
    total = fields.get("accelerator.memory_mib") or fields.get("memory.total_mib")
    if total is None:
        assert "memory.budget_mib" not in fields
    else:
        assert fields["memory.budget_mib"] <= 0.9 * total


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_an_artifact_for_an_ancestor_runs_on_its_heirs(name: str) -> None:
    heir = load_profile(name, TEXTS).fields
    for parent in ancestors(name, TEXTS):
        older = load_profile(parent, TEXTS).fields
        assert set(older.get("cpu.features", ())) <= set(heir.get("cpu.features", ()))
        assert older["os.arch"] == heir["os.arch"]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_no_scheme_is_fast_and_slow_at_once(name: str) -> None:
    fields = load_profile(name, TEXTS).fields
    for key, fast in fields.items():
        if key.startswith("runtime.") and key.endswith(".fast"):
            runtime = key.removesuffix(".fast")
            others = [*fields.get(f"{runtime}.slow", []), *fields.get(f"{runtime}.impossible", [])]
            assert not set(fast) & set(others), key


@pytest.mark.parametrize("name", [name for name in sorted(TEXTS) if name.startswith("x86-64-")])
def test_a_class_of_several_makers_has_the_newest_generic_name_that_it_implements(name: str) -> None:
    fields = load_profile(name, TEXTS).fields
    older = ["popcnt", "sse4_1", "sse4_2", "ssse3"]  # of the v2 level, which the v3 level implies
    machine = {**fields, "cpu.features": [*fields["cpu.features"], *older]}
    assert fields["cpu.microarchitecture"] == level(machine)


def test_heirs_add_features() -> None:
    assert {"avx2", "avx512_vnni"} <= set(load_profile("x86-64-v4-avx512-vnni", TEXTS).fields["cpu.features"])
    assert ancestors("apple-m4", TEXTS) == ("apple-m2", "apple-m1")


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_scheme_that_a_runtime_is_said_to_run_exists(name: str) -> None:
    formats = [offer.record for offer in registry.load().formats.all()]
    for key, schemes in load_profile(name, TEXTS).fields.items():
        table, _, rest = key.partition(".")
        runtime, _, word = rest.partition(".")
        if table == "runtime" and word != "min":
            known = {scheme for record in formats if runtime in record.runtimes for scheme in record.schemes}
            assert known, f"no format is for {runtime}"
            assert set(schemes) <= known, key


def test_a_scheme_is_judged_in_its_own_formats_runtimes() -> None:
    pi, formats = load_profile("raspberry-pi-5", TEXTS), registry.load().formats
    ours = suitability(pi, formats["gguf"].record.runtimes, "BF16")
    assert ours is not None
    assert (ours.verdict, ours.runtimes) == ("slow", ("llamacpp",))
    assert suitability(pi, formats["huggingface"].record.runtimes, "BF16") is None
    assert suitability(pi, formats["onnx"].record.runtimes, "Q4_0") is None
