"""The faults of a build file as one error, each with its line."""

from collections.abc import Iterable
from pathlib import Path

from modelmill.config.lines import line_of, locate
from modelmill.decode import Fault
from modelmill.errors import ConfigError


def faults_error(path: Path, text: str, faults: Iterable[Fault]) -> ConfigError:
    """One error with a line `build.toml:LINE: what is wrong` for each fault, in the file's order."""
    lines = locate(text)
    told = sorted({(line_of(lines, fault.path), fault.message) for fault in faults})
    return ConfigError("\n".join(f"{path.name}:{line}: {message}" for line, message in told))
