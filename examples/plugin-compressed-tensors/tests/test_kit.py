from collections.abc import Iterator
from pathlib import Path

from modelmill.testing import ConverterSuite, FormatSuite, Shape, convert, make_checkpoint

SHAPE = Shape(hidden=128, intermediate=256, heads=4, kv_heads=2)


class TestConverter(ConverterSuite):
    plugin = "modelmill_compressed_tensors"
    name = "huggingface-to-compressed-tensors"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama", shape=SHAPE)


class TestFormat(FormatSuite):
    plugin = "modelmill_compressed_tensors"
    name = "compressed-tensors"

    def make_sample(self, folder: Path) -> None:
        checkpoint = make_checkpoint(folder.parent / "checkpoint", "llama", shape=SHAPE)
        convert("modelmill_compressed_tensors", "huggingface-to-compressed-tensors", "W4A16", checkpoint, folder)

    def structure(self, folder: Path) -> Iterator[tuple[Path, range]]:
        yield folder / "model.safetensors", range(9)  # the header's length, and its first character
        yield folder / "config.json", range(1)
