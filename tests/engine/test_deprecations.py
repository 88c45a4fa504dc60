"""Nothing of the contract goes that the release before did not announce: a plugin's author is warned in time."""

import importlib.metadata
from collections.abc import Mapping

import pytest
from contract_face import broken, face, minor, released

from modelmill.contract import Deprecation

PREVIOUS = {
    "modelmill.create": False,
    "modelmill.create.job": True,
    "modelmill.Format": False,
    "modelmill.Format.name": True,
    "modelmill.Format.usage": False,
    "modelmill.checkpoint.facts": False,
}
SOON = Deprecation(since="0.1", removed="0.2", instead="use nothing")
LATER = Deprecation(since="0.1", removed="0.3", instead="use nothing")


def without(*names: str) -> dict[str, bool]:
    return {name: is_needed for name, is_needed in PREVIOUS.items() if name not in names}


def test_the_last_releases_plugins_lose_nothing_unannounced() -> None:
    before, now = released(), face()
    assert broken(before.parts, now.parts, before.deprecated, now.version) == []


def test_the_release_compared_with_is_the_last_one() -> None:
    before, now = minor(released().version), minor(importlib.metadata.version("modelmill"))
    assert before in {now, (now[0], now[1] - 1)}, "write it anew: python tests/parts/contract_face.py"


KEPT: dict[str, tuple[Mapping[str, bool], Mapping[str, Deprecation], str]] = {
    "the same": (PREVIOUS, {}, "0.1.0"),
    "a new name": ({**PREVIOUS, "modelmill.more": False, "modelmill.more.job": True}, {}, "0.1.1"),
    "a new field with a default": ({**PREVIOUS, "modelmill.Format.colour": False}, {}, "0.2.0"),
    "a name that was to go": (without("modelmill.create", "modelmill.create.job"), {"create": SOON}, "0.2.0"),
    "a name that was to have gone": (without("modelmill.create", "modelmill.create.job"), {"create": SOON}, "0.4.0"),
    "a field that was to go": (without("modelmill.Format.usage"), {"Format.usage": SOON}, "0.2.1"),
    "a name that is needed no longer": ({**PREVIOUS, "modelmill.Format.name": False}, {}, "0.1.1"),
}
BROKEN: dict[str, tuple[Mapping[str, bool], Mapping[str, Deprecation], str, str]] = {
    "a name": (without("modelmill.create", "modelmill.create.job"), {}, "0.2.0", "modelmill.create is gone"),
    "a field": (without("modelmill.Format.usage"), {}, "0.2.0", "modelmill.Format.usage is gone"),
    "a parameter": (without("modelmill.create.job"), {}, "0.2.0", "modelmill.create.job is gone"),
    "what another module has": (without("modelmill.checkpoint.facts"), {"facts": SOON}, "0.2.0", "checkpoint.facts is"),
    "before its time": (without("modelmill.Format.usage"), {"Format.usage": LATER}, "0.2.0", "Format.usage is gone"),
    "in the version that warns first": (
        without("modelmill.Format.usage"),
        {"Format.usage": Deprecation(since="0.2", removed="0.2", instead="use nothing")},
        "0.2.0",
        "Format.usage is gone",
    ),
    "a new field without a default": ({**PREVIOUS, "modelmill.Format.owner": True}, {}, "0.2.0", "Format.owner must"),
    "a default that is gone": ({**PREVIOUS, "modelmill.Format.usage": True}, {}, "0.2.0", "Format.usage must"),
    "a new parameter without a default": ({**PREVIOUS, "modelmill.create.mode": True}, {}, "0.2.0", "create.mode must"),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_breaks_no_plugin_may_change(case: str) -> None:
    now, deprecated, version = KEPT[case]
    assert broken(PREVIOUS, now, deprecated, version) == []


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_one_is_told_once(case: str) -> None:
    now, deprecated, version, sentence = BROKEN[case]
    (told,) = broken(PREVIOUS, now, deprecated, version)
    assert sentence in told
