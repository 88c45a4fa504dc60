"""The command that runs an artifact, as its format tells it."""

from collections.abc import Collection
from pathlib import PurePosixPath

from modelmill.types import Format

WEIGHTS = (".gguf", ".safetensors", ".onnx", ".data")
"""How the names of files with weights end."""


def run_command(record: Format, path: str, files: Collection[str]) -> str:
    """One shell command that runs a folder with these files at `path`; empty where the format tells none."""
    told = record.usage
    if not isinstance(told, str):
        told = next((line for name, line in told.items() if name in files), "")
    first = min(files, key=lambda name: (PurePosixPath(name).suffix not in WEIGHTS, name), default="")
    return told.format(path=path, file=first)
