"""What all tests share: golden files, rewritten on request."""

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """Compare bytes with `golden/NAME` beside the test, or write that file with --update-goldens."""
    folder = request.path.parent / "golden"

    def check(name: str, data: bytes) -> None:
        path: Path = folder / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        assert path.read_bytes() == data, f"{path} differs; pytest --update-goldens writes it anew"

    return check
