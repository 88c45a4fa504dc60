"""The format `mlx` through the conformance kit; the converter is in the kit's run over all makers."""

from collections.abc import Iterable
from pathlib import Path

from modelmill.testing.architectures import Shape
from modelmill.testing.checkpoints import make_checkpoint
from modelmill.testing.formats import FormatSuite


class TestFormat(FormatSuite):
    plugin = "modelmill_mlx"
    name = "mlx"

    def make_sample(self, folder: Path) -> None:
        from mlx_parts.folders import convert

        source = make_checkpoint(folder.parent / "source", "llama", shape=Shape(hidden=64, intermediate=128, layers=1))
        convert(source, folder.parent / "work", "4bit").rename(folder / "made")
        for path in (folder / "made").iterdir():
            path.rename(folder / path.name)
        (folder / "made").rmdir()

    def structure(self, folder: Path) -> Iterable[tuple[Path, range]]:
        yield folder / "model.safetensors", range(8)
        index = folder / "model.safetensors.index.json"
        start = index.read_bytes().index(b"weight_map")
        yield index, range(start, start + 200, 7)
