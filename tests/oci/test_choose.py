"""Which artifact of a release fits a machine, told by the fields of profiles alone."""

from collections.abc import Mapping
from typing import Any

import pytest

from modelmill import RemoteError, RequestError
from modelmill.delivery.remote import verdicts
from modelmill.hardware.schema import load_profile
from modelmill.registry import load
from modelmill_artifacts.manifest import HardwareProfile
from modelmill_artifacts.release import Entry
from modelmill_oci.choose import by_machine, by_name, by_profile, unfit
from modelmill_targets import modelmill_hardware

TEXTS = {profile.name: profile.toml for profile in modelmill_hardware()}
ARM_BOARD = 'inherits = ["raspberry-pi-5"]\ndescription = "a board with an NPU"\naccelerator.kind = "npu"\n'
GIB = 1024**3


def fields(name: str) -> Mapping[str, Any]:
    return load_profile(name, {**TEXTS, "npu-board": ARM_BOARD}).fields


def entry(profile: str, size: int = GIB, scheme: str = "Q4_0", target: str = "") -> Entry:
    return Entry(
        target=target or profile,
        path=target or profile,
        sha256="a" * 64,
        size=100,
        format="gguf",
        scheme=scheme,
        hardware=HardwareProfile(profile=profile, requires=fields(profile)),
        bytes=size,
    )


def machine(profile: str, **accelerator: Any) -> dict[str, Any]:
    """A machine that is what a profile says, save for its accelerator."""
    said = {key: value for key, value in fields(profile).items() if key.startswith(("os.", "cpu.", "memory."))}
    return {**said, **{f"accelerator.{key}": value for key, value in accelerator.items()}}


@pytest.mark.parametrize("profile", ["snapdragon-x-elite", "npu-board"])
def test_an_npu_is_not_needed(profile: str) -> None:
    assert unfit(entry(profile), machine(profile)) == ""


def test_an_npu_makes_no_artifact_the_better_one() -> None:
    larger = entry("raspberry-pi-5", 2 * GIB)
    assert by_machine([entry("npu-board"), larger], machine("raspberry-pi-5"))[0] == larger


def test_another_accelerator_is_needed() -> None:
    assert unfit(entry("nvidia-l4"), machine("x86-64-v3")) == "needs cuda"
    with pytest.raises(RemoteError, match="nvidia-l4: needs cuda"):
        by_machine([entry("nvidia-l4")], machine("x86-64-v3"))


@pytest.mark.parametrize(
    ("size", "card", "host", "reason"),
    [
        (20 * GIB, 23034, 8192, ""),
        (24 * GIB, 23034, 131072, "has 24576 MiB, more than the card's memory of 23034 MiB"),
        (24 * GIB, 0, 8192, "has 24576 MiB, more than the memory of 8192 MiB"),
        (24 * GIB, None, 131072, ""),
    ],
)
def test_what_lies_on_a_card_is_measured_by_it(size: int, card: int | None, host: int, reason: str) -> None:
    known = {} if card is None else {"memory_mib": card}
    here = {**machine("nvidia-l4", kind="cuda", **known), "memory.total_mib": host}
    assert unfit(entry("nvidia-l4", size), here) == reason


def test_a_target_or_a_profile_that_the_release_lacks_is_wrong_input() -> None:
    with pytest.raises(RequestError, match="no target 'nosuch'; there is") as error:
        by_name([entry("nvidia-l4")], "nosuch")
    assert error.value.exit_code == 2
    with pytest.raises(RequestError, match="has nothing for 'apple-m2'; there is nvidia-l4"):
        by_profile([entry("nvidia-l4")], "apple-m2")


def test_of_equal_needs_what_the_profile_calls_fast_is_taken_and_the_reason_is_said() -> None:
    offered = [
        entry("x86-64-v3", 2 * GIB, "BF16", "largest"),
        entry("x86-64-v3", GIB, "F16", "large"),
        entry("x86-64-v3", GIB // 2, "Q8_0", "small"),
        entry("x86-64-v3", GIB // 4, "Q4_0", "smaller"),
    ]
    chosen, reason = by_machine(offered, machine("x86-64-v3"), verdicts(load()))
    assert chosen.target == "small"
    slower = "fits too, but its scheme is slower, by its profile"
    assert reason.endswith(f"; not largest ({slower}), large ({slower}), smaller (fits too, but is smaller)")
    assert by_machine(offered[:2], machine("x86-64-v3"), verdicts(load()))[0].target == "large"
