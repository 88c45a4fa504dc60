"""The same job gives the same bytes, whatever may not matter."""

from pathlib import Path

import pytest
from mlx_parts.folders import convert

from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint


@pytest.mark.parametrize("scheme", ["bf16", "4bit", "3bit", "mxfp4", "mixed_3_6"])
def test_threads_folders_and_block_size_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    shape = Shape(hidden=128, intermediate=192, layers=2)
    source = make_checkpoint(tmp_path / "source", "llama", shape=shape, dtype="F32", shards=3)
    first = _bytes(convert(source, tmp_path / "first", scheme))
    assert _bytes(convert(source, tmp_path / "a" / "b", scheme, threads=3)) == first
    monkeypatch.setattr("modelmill_mlx.kernel.BLOCK_BYTES", 1000)
    assert _bytes(convert(source, tmp_path / "blocks", scheme, threads=2)) == first


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
