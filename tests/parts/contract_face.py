"""The plugin contract as data, and what of the last release's a plugin would lose.

At a release, `PYTHONPATH=tests/parts python tests/parts/contract_face.py` writes the file for the versions to come;
`--update-goldens` does not, so that nothing can go that the release before did not announce.
"""

import importlib
import importlib.metadata
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from public_face import names

from modelmill import hookspecs
from modelmill.contract import DEPRECATED, PUBLIC, Deprecation

RELEASED = Path(__file__).parent.parent / "engine" / "released-face.json"
HOOKS = "modelmill.hookspecs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """The contract of one version: its parts, and of those, what was deprecated."""

    version: str
    parts: Mapping[str, bool]
    """Fields and parameters count as parts; True for one that must be given a value."""
    deprecated: Mapping[str, Deprecation]


def broken(
    previous: Mapping[str, bool], now: Mapping[str, bool], deprecated: Mapping[str, Deprecation], version: str
) -> list[str]:
    """A sentence for each part that a plugin written for the release before loses in this version.

    `deprecated` is what that release said would go: an entry that was added since has warned nobody.
    """
    gone = [name for name in previous if name not in now]
    told = [
        f"{name} is gone, and the last release did not say that it would be in {version}; keep it, and deprecate it"
        for name in gone
        if not set(_above(name)).intersection(gone) and not _announced(name, deprecated, version)
    ]
    asked = [
        f"{name} must be given a value, which plugins for the last release do not do; give it a default"
        for name, is_needed in now.items()
        if is_needed and not previous.get(name, False) and next(_above(name), name) in previous
    ]
    return told + asked


def minor(version: str) -> tuple[int, int]:
    """A version's first two numbers."""
    major, _, rest = version.partition(".")
    return int(major), int(rest.partition(".")[0])


def face() -> Face:
    """The contract of the code as it is."""
    parts = {f"{HOOKS}.{name}": False for name in vars(hookspecs) if name.startswith("modelmill_")}
    for module in PUBLIC:
        home = importlib.import_module(module)
        for name in names(home):
            parts |= dict(_parts(f"{module}.{name}", getattr(home, name)))
    return Face(version=importlib.metadata.version("modelmill"), parts=parts, deprecated=DEPRECATED)


def released() -> Face:
    """The contract of the last release."""
    table = json.loads(RELEASED.read_text("utf-8"))
    gone = {name: Deprecation(**item) for name, item in table["deprecated"].items()}
    return Face(version=table["version"], parts=table["parts"], deprecated=gone)


def write(path: Path) -> None:
    """Write the contract as it is."""
    path.write_text(json.dumps(asdict(face()), indent=1, sort_keys=True) + "\n", "utf-8")


def _announced(name: str, deprecated: Mapping[str, Deprecation], version: str) -> bool:
    """Whether a part, or what it is a part of, was to be gone by now, and a minor version has warned of it."""
    for item in (name, *_above(name)):
        found = deprecated.get(item.removeprefix("modelmill."), deprecated.get(item))
        if found and minor(found.since) < minor(version) and minor(found.removed) <= minor(version):
            return True
    return False


def _above(name: str) -> Iterator[str]:
    """What a part is a part of, the nearest first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _parts(name: str, value: Any) -> Iterator[tuple[str, bool]]:
    yield name, False
    if inspect.isclass(value):
        yield from _members(name, value)
    elif inspect.isfunction(value):
        yield from _parameters(name, value)


def _members(name: str, kind: type[Any]) -> Iterator[tuple[str, bool]]:
    own = fields(kind) if is_dataclass(kind) else ()
    yield from ((f"{name}.{item.name}", item.default is item.default_factory is MISSING) for item in own if item.init)
    known = {item.name for item in own}
    for base in kind.__mro__:
        if base.__module__.startswith("modelmill"):
            for item in (*vars(base), *vars(base).get("__annotations__", ())):
                if not item.startswith(("_", "test_")) and item not in known:
                    known.add(item)
                    yield from _parts(f"{name}.{item}", inspect.getattr_static(kind, item, None))


def _parameters(name: str, function: Callable[..., Any]) -> Iterator[tuple[str, bool]]:
    for item in inspect.signature(function).parameters.values():
        if item.name not in {"self", "cls"}:
            is_open = item.kind in {item.VAR_POSITIONAL, item.VAR_KEYWORD}
            yield f"{name}.{item.name}", item.default is item.empty and not is_open


if __name__ == "__main__":
    write(RELEASED)
