from pathlib import Path

from modelmill.testing import make_checkpoint
from modelmill.testing.makers import ConverterSuite, QuantizerSuite


class TestHuggingfaceToGguf(ConverterSuite):
    plugin = "modelmill_gguf"
    name = "huggingface-to-gguf"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama")


class TestHuggingfaceToMlx(ConverterSuite):
    plugin = "modelmill_mlx"
    name = "huggingface-to-mlx"

    def make_source(self, folder: Path) -> None:
        make_checkpoint(folder, "llama")
