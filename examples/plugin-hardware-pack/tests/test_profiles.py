from importlib.resources import files

from modelmill.testing import HardwareSuite


class TestBoards(HardwareSuite):
    plugin = "modelmill_hardware_pack"


def test_every_figure_of_memory_names_a_document() -> None:
    for path in files("modelmill_hardware_pack").iterdir():
        if path.name.endswith(".toml"):
            memory = next(line for line in path.read_text().splitlines() if line.startswith("memory = "))
            assert any(word in memory for word in ("datasheet", "data sheet", "Manual", "brief", "documentation"))
