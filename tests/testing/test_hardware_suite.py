"""The suite for hardware profiles finds a scheme that no format has."""

import sys
from types import ModuleType

import pytest

from modelmill import HardwareProfile
from modelmill.testing import HardwareSuite

CARD = 'description = "a card"\nos.family = "linux"\nos.arch = "amd64"\nruntime.{} = ["{}"]\n'


class Suite(HardwareSuite):
    plugin = "cards"


@pytest.mark.parametrize(
    ("field", "scheme", "exists"),
    [
        ("onnxruntime.fast", "fp16", True),
        ("onnxruntime.fast", "F16", False),
        ("llamacpp.impossible", "F16", True),
        ("llamacpp.slow", "fp16", False),
        ("unheard.fast", "fp5", True),
    ],
)
def test_schemes_are_those_of_the_runtimes_formats(
    monkeypatch: pytest.MonkeyPatch, field: str, scheme: str, *, exists: bool
) -> None:
    profile = HardwareProfile(name="card", toml=CARD.format(field, scheme))
    plugin = ModuleType("cards")
    plugin.modelmill_hardware = lambda: [profile]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cards", plugin)
    if exists:
        Suite().test_runtimes_are_said_to_run_schemes_that_exist(profile)
    else:
        with pytest.raises(AssertionError, match=f"{scheme} is no scheme of a format for {field.partition('.')[0]}"):
            Suite().test_runtimes_are_said_to_run_schemes_that_exist(profile)
