import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from modelmill.testing import HardwareSuite

README = Path(__file__).parent.parent / "README.md"


class TestBoards(HardwareSuite):
    plugin = "modelmill_hardware_pack"


def profiles() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in files("modelmill_hardware_pack").iterdir():
        if path.name.endswith(".toml"):
            yield path.name.removesuffix(".toml"), tomllib.loads(path.read_text())


@pytest.mark.parametrize(("name", "profile"), list(profiles()), ids=[name for name, _ in profiles()])
def test_the_bandwidth_is_what_its_evidence_computes(name: str, profile: dict[str, Any]) -> None:
    sums = re.findall(r"computed from .*?(\d+) bytes x (\d+) MT/s = ([\d.]+) GB/s", profile["evidence"]["memory"])
    ((width, rate, result),) = sums
    assert float(result) == pytest.approx(int(width) * int(rate) / 1000, abs=0.05)
    assert float(result) == profile["memory"]["bandwidth_gbps"]
    row = next(line for line in README.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    assert row.endswith(f"| {profile['memory']['total_mib'] // 1024} GB | {result} GB/s |")
