"""The BitNet plugin through the conformance kit."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from bitnet_parts.models import convert, master, measure, other, packed

from modelmill.testing.formats import FormatSuite
from modelmill.testing.makers import ConverterSuite


class TestToGguf(ConverterSuite):
    plugin = "modelmill_bitnet"
    name = "bitnet-to-gguf"

    def make_source(self, folder: Path) -> None:
        packed(folder, "bitlinear")


class TestOtherToGguf(ConverterSuite):
    plugin = "modelmill_bitnet"
    name = "ternary-to-gguf"

    def make_source(self, folder: Path) -> None:
        other(folder)

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        return {"ternary": measure(other(folder / "source"), folder / "report")}


class TestMeasure(ConverterSuite):
    plugin = "modelmill_bitnet"
    name = "measure-ternary"

    def make_source(self, folder: Path) -> None:
        other(folder)


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


class TestReport(FormatSuite):
    plugin = "modelmill_bitnet"
    name = "ternary"

    def make_sample(self, folder: Path) -> None:
        work = folder.parent / "work"
        (measure(other(work / "source"), work) / "ternary.json").rename(folder / "ternary.json")

    def structure(self, folder: Path) -> Iterable[tuple[Path, range]]:
        yield folder / "ternary.json", range(2)
