from pathlib import Path

import pytest
from source_parts.large import measure


@pytest.mark.real
def test_a_gigabyte_is_locked_and_fetched_in_little_memory_and_hashed_once(tmp_path: Path) -> None:
    """tests/benchmarks/sources.py does the same with eight."""
    taken = measure(tmp_path / "build", 10**9)
    assert set(taken) == {"lock", "lock --fetch", "lock --check"}
