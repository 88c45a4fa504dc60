"""What makes a step's bytes beside its options: the plugin's files, the engine's, and the tools' distributions."""

import contextlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from modelmill.errors import MissingToolError
from modelmill.store import StatIndex
from modelmill_artifacts import canonical

_ENGINE_FILES = ("checkpoint", "output.py", "recipe", "types/hardware.py", "types/model.py", "types/steps.py")
"""The engine's files that a step's code may call, relative to the package: a change there may change bytes."""


def package_digest(module: str, index: StatIndex) -> str:
    """The digest of an import package's files as they lie on disk: equal for a wheel and an editable install."""
    return canonical.sha256(package_files(module, index))


def package_files(module: str, index: StatIndex) -> dict[str, str]:
    """The digest of each of an import package's files, by path."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingToolError(f"{module}: the plugin's package has no file")
    origin = Path(spec.origin)
    files = _files(origin.parent) if origin.name == "__init__.py" else [origin]
    return _digests(origin.parent, files, index)


def engine_digest(index: StatIndex) -> str:
    """The digest of the engine's files that a step may call."""
    return canonical.sha256(engine_files(index))


def engine_files(index: StatIndex) -> dict[str, str]:
    """The digest of each of the engine's files that a step may call, by path."""
    root = Path(__file__).parent.parent
    files = [
        file for name in _ENGINE_FILES for file in (_files(root / name) if (root / name).is_dir() else [root / name])
    ]
    return _digests(root, files, index)


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and path.suffix != ".pyc" and path.is_file()
    ]


def _digests(root: Path, files: Iterable[Path], index: StatIndex) -> dict[str, str]:
    return {file.relative_to(root).as_posix(): index.sha256(file) for file in sorted(files)}


def platform_facts() -> dict[str, str]:
    """What of this machine a native tool's result may depend on."""
    facts = {"system": sys.platform, "machine": platform.machine()}
    with contextlib.suppress(AttributeError):
        facts["implementation"] = sys.implementation.cache_tag or ""
    return facts
