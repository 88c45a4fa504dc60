"""The tool environments that tests make: whether to, where they are kept, and of which versions."""

import os
from pathlib import Path

import pytest

from reference import cache

CONSTRAINTS = Path(__file__).parent.parent / "toolchain-constraints.txt"

needed = pytest.mark.skipif(
    "MODELMILL_TEST_TOOLCHAINS" not in os.environ,
    reason="makes tool environments of up to 1.4 GB: MODELMILL_TEST_TOOLCHAINS=1, as tests/run.py sets for a whole run",
)


def surroundings() -> dict[str, str]:
    """The variables for what makes one: a store of the tests' own, for it is large, and versions renewed on purpose."""
    return {"MODELMILL_STORE": str(cache.folder() / "toolchain-store"), "PIP_CONSTRAINT": str(CONSTRAINTS)}
