"""The packages that a step in a tool environment sees of the engine's: exactly those, each by a link."""

import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

_ENGINE = ("modelmill", "modelmill_artifacts", "pluggy")
"""All that `modelmill.step` and the public face import beside the standard library."""


def lay_out(folder: Path, module: str, distributions: Iterable[str]) -> None:
    """Make a folder from which the engine's part of a step, and a plugin's `module`, can be imported.

    A path to the engine's site-packages would show a tool all that is installed there. The metadata of the plugin's
    distributions is linked too, so that it can tell its own version.
    """
    folder.mkdir()
    for name in (*_ENGINE, module):
        _link(folder, name)
    for name in ("modelmill", "pluggy", *distributions):
        for path in _metadata(name):
            if not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)


def _link(folder: Path, module: str) -> None:
    """Link the import package that holds a module; a namespace package becomes a folder with a link in it."""
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"{name} cannot be found", name=name)
        if spec.origin is not None:
            origin = Path(spec.origin)
            whole = origin.parent if origin.name == "__init__.py" else origin
            if not (folder / whole.name).exists():
                (folder / whole.name).symlink_to(whole.absolute())
            return
        folder /= part
        folder.mkdir(exist_ok=True)


def _metadata(distribution: str) -> Iterator[Path]:
    try:
        found = getattr(importlib.metadata.distribution(distribution), "_path", None)
    except importlib.metadata.PackageNotFoundError:
        return
    if found is not None:
        yield Path(str(found)).absolute()
