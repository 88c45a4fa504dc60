"""The BitNet plugin through the conformance kit."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from bitnet_parts.models import convert, master, packed

from modelmill.testing.formats import FormatSuite
from modelmill.testing.makers import ConverterSuite


class TestToGguf(ConverterSuite):
    plugin = "modelmill_bitnet"
    name = "bitnet-to-gguf"

    def make_source(self, folder: Path) -> None:
        packed(folder, "bitlinear")


class TestToBitnetCpp(ConverterSuite):
    plugin = "modelmill_bitnet"
    name = "bitnet-to-i2_s"
    hardware: ClassVar[Mapping[str, Any]] = {"os.arch": "arm64"}

    def make_source(self, folder: Path) -> None:
        master(folder)


class TestFormat(FormatSuite):
    plugin = "modelmill_bitnet"
    name = "bitnet"

    def make_sample(self, folder: Path) -> None:
        source = master(folder.parent / "source")
        convert(source, folder.parent / "work", "I2_S", cpu="amd64").rename(folder / "model.gguf")

    def structure(self, folder: Path) -> Iterable[tuple[Path, range]]:
        yield folder / "model.gguf", range(24)
