"""A profile of this machine is honest: it claims what the machine said, and no more."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelmill import Facts, Hardware, registry
from modelmill.hardware.fit import fit
from modelmill.hardware.machine import apple, detect
from modelmill.hardware.profile import matching, profile_toml
from modelmill.hardware.schema import load_profile
from modelmill.scaffold.starter import Wish, starter
from modelmill_targets import modelmill_hardware

from .conftest import Mill

TEXTS = {profile.name: profile.toml for profile in modelmill_hardware()}
SERVER: dict[str, Any] = {
    "os.family": "linux",
    "os.arch": "amd64",
    "cpu.features": load_profile("x86-64-v4-avx512-vnni", TEXTS).fields["cpu.features"],
    "memory.total_mib": 131072,
}
Smi = Callable[[str, int], Path]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    """Puts a program on PATH that answers one query as NVIDIA's does."""

    def put(says: str, status: int) -> Path:
        program = tmp_path / "programs" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        asked = "--query-gpu=name,memory.total,compute_cap --format=csv,noheader,nounits"
        program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] || exit 2\nprintf "{says}"\nexit {status}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")
        return program

    return put


def accelerator(machine: dict[str, Any]) -> dict[str, Any]:
    return {key.partition(".")[2]: value for key, value in machine.items() if key.startswith("accelerator.")}


def profile(machine: dict[str, Any]) -> dict[str, Any]:
    return dict(load_profile("here", {**TEXTS, "here": profile_toml(machine, TEXTS)}).fields)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("NVIDIA L4, 23034, 8.9", {"name": "NVIDIA L4", "memory_mib": 23034, "compute": "sm_89"}),
        (
            "NVIDIA H100 80GB HBM3, 81559, 9.0\\nNVIDIA L4, 23034, 8.9",
            {"name": "NVIDIA H100 80GB HBM3", "memory_mib": 81559, "compute": "sm_90"},
        ),
        ("NVIDIA GB10, [N/A], 12.1", {"name": "NVIDIA GB10", "memory_mib": 0, "compute": "sm_121"}),
    ],
)
def test_a_card_is_what_its_tool_says(smi: Smi, line: str, found: dict[str, Any]) -> None:
    smi(line + "\\n", 0)
    assert accelerator(detect()) == {"kind": "cuda", **found}


@pytest.mark.parametrize(
    ("says", "status"),
    [
        ("No devices were found\\n", 6),
        ("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.\\n", 9),
        ("NVIDIA L4, 23034, 8.9\\n", 15),
        ("", 0),
        ("Field \\042compute_cap\\042 is not a valid field to query.\\n", 2),
    ],
)
@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has a driver of NVIDIA's")
def test_a_tool_that_finds_no_card_names_none(smi: Smi, says: str, status: int) -> None:
    smi(says, status)
    assert "cuda" not in accelerator(detect()).values()


def test_the_budget_is_the_cards_and_nothing_is_said_of_the_cpus_runtimes(smi: Smi, mill: Mill) -> None:
    smi("NVIDIA L4, 23034, 8.9\\n", 0)
    assert mill.run("hardware", "detect", "-o", "here.toml").code == 0
    assert "inherits" not in tomllib.loads((mill.folder / "here.toml").read_text())
    found = mill.run("hardware", "show", "here.toml", "--json").json()
    assert found["accelerator.provider"] == "CUDAExecutionProvider"
    assert found["memory.budget_mib"] == 20154
    assert not [key for key in found if key.startswith("runtime.")]
    assert "the card's" in found["evidence.memory"]


def test_what_fits_the_host_and_not_the_card_does_not_fit() -> None:
    card = {"accelerator.kind": "cuda", "accelerator.memory_mib": 23034, "accelerator.name": "NVIDIA L4"}
    weights = 40_000 << 20
    for machine, fits in (({**SERVER, **card}, False), (SERVER, True)):
        need = fit(Hardware(fields=profile(machine)), Facts(format="gguf"), weights)
        assert need is not None
        assert need.fits is fits


def test_without_a_card_a_machine_is_what_its_instruction_set_is() -> None:
    found = profile(SERVER)
    assert found["accelerator.provider"] == "CPUExecutionProvider"
    assert found["runtime.llamacpp.fast"]
    assert found["memory.budget_mib"] == 131072 * 3 // 4


def test_a_gpu_that_shares_the_memory_has_the_hosts_budget() -> None:
    found = profile({**SERVER, "accelerator.kind": "cuda", "accelerator.memory_mib": 0})
    assert found["memory.budget_mib"] == 131072 * 3 // 4
    assert "runtime.llamacpp.fast" not in found


def test_a_card_of_unknown_memory_has_no_budget() -> None:
    found = profile({**SERVER, "accelerator.kind": "cuda"})
    assert "memory.budget_mib" not in found
    assert "nvidia-smi" in found["evidence.memory"]


# What sysctl prints of the names that it knows, which on an M1 is not FEAT_SME; the others are on stderr.
M1 = """\
machdep.cpu.brand_string: Apple M1
hw.perflevel0.physicalcpu: 4
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.arm.FEAT_BF16: 0
hw.optional.arm.FEAT_I8MM: 0
"""
M2 = M1.replace("M1", "M2").replace(": 0", ": 1")
M4 = M2.replace("M2", "M4") + "hw.optional.arm.FEAT_SME: 1\nhw.optional.arm.FEAT_SME2: 1\n"


def mac(told: str, gib: int) -> dict[str, Any]:
    return {"os.family": "macos", "os.arch": "arm64", "memory.total_mib": gib * 1024, **apple(told)}


def test_an_apple_chip_is_what_sysctl_tells() -> None:
    assert apple(M2) == {
        "accelerator.kind": "metal",
        "accelerator.name": "Apple M2",
        "cpu.cores": 4,
        "cpu.features": ["asimd", "asimddp", "asimdhp", "bf16", "fphp", "i8mm"],
    }
    assert apple("") == {"accelerator.kind": "metal", "cpu.features": []}


@pytest.mark.parametrize(
    ("told", "gib", "here"),
    [
        (M1, 8, ("apple-m1",)),
        (M1, 64, ("apple-m1",)),
        (M2, 8, ("apple-m2",)),
        (M2.replace("M2", "M3 Pro"), 18, ("apple-m2",)),
        (M4, 16, ("apple-m4",)),
        (M4, 8, ("apple-m2",)),
        (M1, 4, ()),
        ("", 64, ()),
    ],
)
def test_a_mac_runs_what_is_built_for_macs_of_less_features_and_memory(
    told: str, gib: int, here: tuple[str, ...]
) -> None:
    assert matching(mac(told, gib), TEXTS) == here


def test_a_first_build_file_on_a_mac_is_for_its_own_chip(tmp_path: Path) -> None:
    wish = Wish(model="hf://OWNER/NAME", format="gguf")
    for told, name in ((M2, "apple-m2"), (M4, "apple-m4")):
        assert f'hardware = "{name}"' in starter(wish, tmp_path / "build.toml", registry.load(), mac(told, 16))


def test_a_macs_profile_inherits_from_that_of_its_own_chip_alone() -> None:
    own = profile(mac(M2, 24))
    assert (own["cpu.microarchitecture"], own["memory.bandwidth_gbps"]) == ("m2", 102.4)
    assert (own["memory.total_mib"], own["memory.budget_mib"]) == (24576, 16384)
    assert own["runtime.mlx.fast"] == load_profile("apple-m2", TEXTS).fields["runtime.mlx.fast"]
    other = profile(mac(M2.replace("M2", "M2 Max"), 64))
    assert other["accelerator.name"] == "Apple M2 Max"
    assert not {"memory.bandwidth_gbps", "cpu.microarchitecture", "runtime.mlx.fast"} & set(other)
