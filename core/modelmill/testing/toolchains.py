"""The Python that a record's steps run in, for the kit: the tool environment of its toolchain, made when needed."""

import functools
import importlib.metadata
from pathlib import Path

from modelmill.execute.code import lay_out
from modelmill.execute.environment import Interpreter
from modelmill.lock import Locked, LockedToolchain, Pin, read_lock, this_platform, write_lock
from modelmill.step import find
from modelmill.store import Store, store_folder
from modelmill.toolchains import environments, pip
from modelmill.types import Toolchain
from modelmill_artifacts import canonical


def interpreter(module: str, kind: str, name: str, folder: Path) -> Interpreter:
    """The Python that runs a record, with the code that its steps see laid out in a new `folder`.

    Environments are kept in the user's store, which builds share. ToolchainError where one cannot be made.
    """
    toolchain = find(module, kind, name).toolchain
    if toolchain is None:
        return Interpreter()
    if not folder.exists():
        points = importlib.metadata.entry_points(group="modelmill")
        lay_out(folder, module, [point.dist.name for point in points if point.value == module and point.dist])
    return Interpreter(python=environments.python_of(_environment(toolchain, store_folder(None))), code=folder)


@functools.cache
def _environment(toolchain: Toolchain, root: Path) -> Path:
    """The environment of a toolchain, of pins that are resolved once for each store: tests need no build.lock."""
    store = Store(root)
    path = store.root / "toolchains" / f"{canonical.sha256([toolchain.name, *toolchain.requires])}.lock"
    pins = _pins(toolchain, path)
    return environments.ensure(store, toolchain.name, pins, lambda line: None)  # noqa: ARG005


def _pins(toolchain: Toolchain, path: Path) -> tuple[Pin, ...]:
    known = read_lock(path).toolchains.get(toolchain.name)
    pins = known.on(this_platform()) if known else ()
    if not pins:
        pins = pip.resolve(toolchain.requires)
        path.parent.mkdir(exist_ok=True)
        locked = LockedToolchain(name=toolchain.name, requires=toolchain.requires, pins=pins)
        write_lock(path, Locked(toolchains={toolchain.name: locked}))
    return pins
