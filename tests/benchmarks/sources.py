"""Lock and fetch a sharded checkpoint of 8 GB from a hub on this machine: seconds, peak memory, bytes hashed.

Usage: python tests/benchmarks/sources.py [MEGABYTES]
Fails where a command takes 200 MB of memory or more, or where a byte is fetched or hashed twice. The size is free on
the disk of the temporary folder, or of MODELMILL_BENCHMARK_FOLDER.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "parts"))

from source_parts.large import measure


def main() -> None:
    """Measure, and print a line for each command."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with tempfile.TemporaryDirectory(dir=os.environ.get("MODELMILL_BENCHMARK_FOLDER")) as folder:
        for command, item in measure(Path(folder) / "build", size * 10**6).items():
            print(
                f"{command:14} {item.seconds:7.1f} s {item.memory / 1e6:6.0f} MB of memory, "
                f"{item.hashed / 1e6:8.0f} MB hashed"
            )


if __name__ == "__main__":
    main()
