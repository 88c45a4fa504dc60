"""What a plugin pulls in where the engine looks, and which of that is too much."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

NATIVE = (".so", ".dylib", ".pyd")
LIMIT = 512 << 10
"""Bytes of foreign Python that may be loaded: click or packaging, and not transformers or boto3."""
_OURS = ("modelmill", "modelmill_artifacts", "pluggy")


def heavy(before: Collection[str], own: str) -> list[str]:
    """The packages that were loaded since `before`, and that the engine should not wait for, by name.

    Those are packages with native code, whether it is loaded yet or not, and all others together where their sources
    exceed LIMIT; neither the standard library's, nor modelmill's, nor the plugin's `own`.
    """
    sizes = Counter[str]()
    for name in set(sys.modules).difference(before):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in (*_OURS, own.partition(".")[0]):
            sizes[top] += _size(name)
    native = {top for top in sizes if any(_native(top))}
    others = sizes.keys() - native if sum(sizes[top] for top in sizes.keys() - native) > LIMIT else set()
    return sorted(native | others)


def _origin(name: str) -> Path:
    """The file that a module was loaded from; one that is not there where it was made otherwise."""
    return Path(getattr(getattr(sys.modules.get(name), "__spec__", None), "origin", None) or "/nonexistent")


def _size(name: str) -> int:
    try:
        return _origin(name).stat().st_size
    except OSError:
        return 0


def _native(top: str) -> Iterator[Path]:
    """The native libraries of a package, those that it loads by ctypes too."""
    files = [_origin(top)]
    for folder in getattr(sys.modules.get(top), "__path__", ()):
        files += Path(folder).rglob("*")
    return (path for path in files if path.suffix in NATIVE or ".so." in path.name)
