"""A hub of the test's own, and a disk that is soon full."""

from collections.abc import Iterator
from pathlib import Path

import disks
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
    with disks.small(tmp_path / "disk", "512k") as folder:
        yield folder
