"""What `modelmill diff` says to people: what differs, a line each, and nothing else."""

import pytest

from modelmill.cli.diff import lines
from modelmill_artifacts.diff import Change

OLD, NEW = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change(kind="field", name="version", before="1.0", after="1.1"), ["field version: 1.0 → 1.1"]),
        (Change(kind="field", name="licence", before=None, after="MIT"), ["field licence: nothing → MIT"]),
        (
            Change(kind="file", name="a", before={"sha256": OLD, "size": 1}, after={"sha256": NEW, "size": 1}),
            [f"file a, sha256: {OLD[:12]}… → {NEW[:12]}…"],
        ),
        (
            Change(kind="file", name="a", before=None, after={"sha256": NEW, "size": 1}),
            [f"file a: nothing → sha256 {NEW[:12]}…, size 1"],
        ),
        (
            Change(
                kind="step",
                name="2 shorten",
                before={"options": {"length": 4, "pure": False}, "scheme": "short"},
                after={"options": {"length": 2, "pure": False}, "scheme": "tiny"},
            ),
            ["step 2 shorten, options.length: 4 → 2", "step 2 shorten, scheme: short → tiny"],
        ),
        (
            Change(kind="step", name="2 shorten", before={"options": {}}, after={"options": {"pure": None}}),
            ["step 2 shorten, options.pure: not there → nothing"],
        ),
        (Change(kind="field", name="notes", before=["\x1b[2J"], after=[]), ["field notes: ['\\x1b[2J'] → []"]),
    ],
)
def test_a_change_is_told_by_what_differs(change: Change, told: list[str]) -> None:
    assert list(lines(change)) == told
