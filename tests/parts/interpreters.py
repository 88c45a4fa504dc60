"""Virtual environments of a test's own: all that this one has, and a few distributions more."""

import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path


def install(site: Path, distribution: str, version: str, plugins: Mapping[str, str]) -> None:
    """Lay a distribution with one module for each plugin out as pip does."""
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    points = "".join(f"{name} = {name}_plugin\n" for name in plugins)
    (info / "entry_points.txt").write_text(f"[modelmill]\n{points}")
    for name, source in plugins.items():
        (site / f"{name}_plugin.py").write_text(source)


def make_interpreter(folder: Path) -> Path:
    """A virtual environment that sees all that this one has; returns its site-packages."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    outer = sysconfig.get_path("purelib")
    (site / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    return site
