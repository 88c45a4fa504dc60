"""Every file and folder that a build which had nothing to do depended on."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from modelmill.build.make import Made
from modelmill.build.prepare import Prepared
from modelmill.build.sign import key_files
from modelmill.lock import lock_path
from modelmill_artifacts.release import RELEASE, RELEASE_SIGNATURE

_OWN = ("modelmill", "modelmill_artifacts")


def watched(prepared: Prepared, made: Made) -> list[str] | None:
    """All that `_watched` finds; None where a key may change that lies in no file."""
    keys = key_files(prepared.build, prepared.registry)
    return None if keys is None else [*map(str, keys), *_watched(prepared, made)]


def _watched(prepared: Prepared, made: Made) -> Iterator[str]:
    """What must be as it is now for the same build to have nothing to do again.

    The build file and its lock, sources in place, the code of the engine and of every plugin, the folders that
    distributions are installed into, the results in the store, and the artifacts.
    """
    base = prepared.build.path.absolute()
    yield from (str(base), str(lock_path(base)))
    yield from (str(path) for path in prepared.named)
    for state in prepared.states.values():
        if state.root is not None:
            yield from _below(state.root)
    modules = {*_OWN, *(plugin.module for plugin in prepared.registry.plugins)}
    for module in sorted(modules):
        yield from _code(module)
    yield from sys.path
    store = prepared.store
    for planned in prepared.plan.targets:
        yield str(store.root / "steps" / f"{planned.key}.json")
        result = store.result(planned.key)
        yield from (str(store.blob(file.sha256)) for file in (result.files if result else ()))
    for artifact in made.artifacts:
        yield from _below(artifact.folder)
    for release in {artifact.folder.parent for artifact in made.artifacts}:
        yield from (str(path) for path in (release, release / RELEASE, release / RELEASE_SIGNATURE))


def _code(module: str) -> Iterator[str]:
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        origin = Path(spec.origin)
        yield from _below(origin.parent) if origin.name == "__init__.py" else (str(origin),)


def _below(root: Path) -> Iterator[str]:
    """A folder, the folders in it, and all their files; caches of bytecode come and go and do not matter."""
    if root.is_file():
        yield str(root)
        return
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield folder
        yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118
