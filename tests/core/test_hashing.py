import pytest

from modelmill.cli import hashing


def test_a_log_is_told_in_lines_how_far_hashing_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 10.0, 19.0, 20.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with hashing.hashing(quiet=False) as note:
        assert note is not None
        for _ in range(4):
            note(500_000_000, 4_000_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "  hashing: 1.0 GB of 4.0 GB, 100.0 MB/s, 30.0 s left",
        "  hashing: 2.0 GB of 4.0 GB, 100.0 MB/s, 20.0 s left",
    ]


def test_nothing_is_told_under_json() -> None:
    with hashing.hashing(quiet=True) as note:
        assert note is None
