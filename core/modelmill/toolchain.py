"""What makes a step's bytes beside its options: the plugin's files, the engine's, and the tools' distributions."""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelmill.errors import MissingToolError
from modelmill.store import StatIndex
from modelmill_artifacts import canonical

_ENGINE_FILES = ("checkpoint", "output.py", "recipe", "types.py")
"""The engine's files that a step's code may call, relative to the package: a change there may change bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """An installed distribution that has a part in a step: `digest` is over the digests of its files."""

    name: str
    version: str
    digest: str
    licence: str | None
    native: bool
    requires: tuple[str, ...]


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
    root = Path(__file__).parent
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


def closure(names: Iterable[str], requirement: str) -> tuple[Tool, ...]:
    """The named distributions and all that they require here, by name.

    Raises MissingToolError, with the command that installs `requirement`, if one is not installed.
    """
    found: dict[str, Tool] = {}
    waiting = [(name, frozenset[str]()) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        distribution = _distribution(name)
        if distribution is None:
            what = requirement or name
            raise MissingToolError(f"{name} is not installed; run: pip install '{what}'")
        found.setdefault(name, _tool(name))
        waiting.extend(_requirements(distribution, extras))
    return tuple(found[name] for name in sorted(found))


@functools.cache
def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements(
    distribution: importlib.metadata.Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """What a distribution requires on this machine. One that is required but missing is passed over: pip would
    have said so, and a tool that runs without it is not made by it."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for text in distribution.requires or ():
        requirement = Requirement(text)
        environments = [{"extra": extra} for extra in sorted(extras)] or [{"extra": ""}]
        if requirement.marker and not any(requirement.marker.evaluate(item) for item in environments):
            continue
        name = canonicalize_name(requirement.name)
        if _distribution(name) is not None:
            yield name, frozenset(requirement.extras)


@functools.cache
def _tool(name: str) -> Tool:
    distribution = _distribution(name)
    if distribution is None:
        raise MissingToolError(f"{name} is not installed")
    native = False
    record = []
    for line in (distribution.read_text("RECORD") or "").splitlines():
        path, _, rest = line.partition(",")
        if _counts(path):
            record.append(f"{path},{rest}")
            native = native or path.endswith((".so", ".dylib", ".pyd")) or ".so." in path
    metadata = distribution.metadata
    return Tool(
        name=name,
        version=distribution.version,
        digest=hashlib.sha256("\n".join(sorted(record)).encode()).hexdigest(),
        licence=_licence(metadata.get_all("License-Expression"), metadata.get_all("License")),
        native=native,
        requires=tuple(sorted({required for required, _ in _requirements(distribution, frozenset())})),
    )


def _counts(path: str) -> bool:
    """Whether a file of a distribution is the same wherever it is installed: scripts carry the interpreter's path."""
    if path.startswith("..") or path.endswith(".pyc"):
        return False
    return Path(path).name not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def _licence(expression: list[str] | None, text: list[str] | None) -> str | None:
    """The licence as the distribution states it, if it does so in a word or two."""
    stated = next(iter(expression or text or ()), None)
    return stated if stated and "\n" not in stated and len(stated) <= 80 else None  # noqa: PLR2004


def platform_facts() -> dict[str, str]:
    """What of this machine a native tool's result may depend on."""
    facts = {"system": sys.platform, "machine": platform.machine()}
    with contextlib.suppress(AttributeError):
        facts["implementation"] = sys.implementation.cache_tag or ""
    return facts
