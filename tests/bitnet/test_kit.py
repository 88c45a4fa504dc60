"""The BitNet plugin through the conformance kit."""

from pathlib import Path

from bitnet_parts.models import packed

from modelmill.testing.makers import ConverterSuite


class TestPackedWeights(ConverterSuite):
    plugin = "modelmill_bitnet"
    name = "bitnet-to-gguf"

    def make_source(self, folder: Path) -> None:
        packed(folder, "bitlinear")
