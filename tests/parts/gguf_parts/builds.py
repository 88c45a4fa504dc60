"""Builds of GGUF targets from a checkpoint in the folder `checkpoint`, through the command line."""

import subprocess
import sys
from pathlib import Path

HEAD = """
[project]
name = "tiny"
version = "1"
license = "MIT"
[source.base]
uri = "checkpoint"
[defaults]
source = "base"
hardware = "raspberry-pi-5"
format = "gguf"
[sign]
mode = "none"
"""
TARGET = """
[target.{name}]
scheme = "{scheme}"
inputs = {{ imatrix = "text" }}
options = {{ context = 64, chunks = 2 }}
"""
"""A target that is made with an importance matrix of the source `text`."""


def build(folder: Path, text: str, *, checkpoint: str = "checkpoint") -> str:
    """Build what the text adds to HEAD; what the command said on its log."""
    done = _run(folder, "build", text, checkpoint)
    assert done.returncode == 0, done.stderr
    return done.stderr


def refused(folder: Path, text: str) -> str:
    """What a plan says that refuses what the text adds to HEAD."""
    done = _run(folder, "plan", text, "checkpoint")
    assert done.returncode == 2, done.stderr
    return done.stderr


def _run(folder: Path, verb: str, text: str, checkpoint: str) -> subprocess.CompletedProcess[str]:
    (folder / "build.toml").write_text(HEAD.replace('"checkpoint"', f'"{checkpoint}"') + text)
    command = [sys.executable, "-m", "modelmill", verb, "--store", str(folder / "store")]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
