"""A hub of the test's own, and a disk that is soon full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_parts.hub import CONTENT, Hub, serving


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub(
        files={
            "config.json": b"{}",
            "model.safetensors": CONTENT,
            "pytorch_model.bin": b"pickle",
            "modeling.py": b"code",
            "onnx/model.onnx": b"onnx",
            "model-Q4_0.gguf": b"GGUF",
            "README.md": b"# model",
        }
    )
    with serving(state):
        monkeypatch.setenv("HF_ENDPOINT", state.address)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
        yield state


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount a small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
