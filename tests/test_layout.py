import importlib
import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHIPPED: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
ENTRY_POINTS: dict[str, str] = PYPROJECT["project"]["entry-points"]["modelmill"]


def packages_on_disk() -> set[str]:
    roots = ("core", "plugins", "targets", "artifacts")
    return {f"{root}/{path.parent.name}" for root in roots for path in (ROOT / root).glob("*/__init__.py")}


def test_the_wheel_ships_the_packages_on_disk() -> None:
    assert set(SHIPPED) == packages_on_disk()


def test_source_roots_hold_nothing_but_packages() -> None:
    for root in ("core", "plugins", "targets", "artifacts"):
        strangers = [
            path.name
            for path in (ROOT / root).iterdir()
            if path.name != "__pycache__" and not (path / "__init__.py").exists() and not path.name.startswith(".")
        ]
        assert strangers == [], f"{root}/ is a source root: what lies in it can be imported here and is not shipped"


@pytest.mark.parametrize("package", sorted(packages_on_disk()))
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("name", sorted(ENTRY_POINTS))
def test_every_entry_point_imports(name: str) -> None:
    importlib.import_module(ENTRY_POINTS[name])


def test_the_installed_entry_points_are_those_of_pyproject() -> None:
    installed = {
        entry.name: entry.value
        for entry in importlib.metadata.distribution("modelmill").entry_points
        if entry.group == "modelmill"
    }
    assert installed == ENTRY_POINTS, "install modelmill again: its entry points changed"


def test_every_plugin_package_is_registered() -> None:
    plugins = {Path(package).name for package in SHIPPED if package.startswith(("plugins/", "targets/"))}
    assert plugins == set(ENTRY_POINTS.values())
