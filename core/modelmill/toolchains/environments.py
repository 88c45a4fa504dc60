"""Tool environments: one virtual environment for each set of pins, made whole or not there, kept in the store."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import venv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modelmill.errors import ToolchainError
from modelmill.lock.toolchains import Pin, this_platform
from modelmill.store import Store
from modelmill.store.filesystem import write_atomic, writing
from modelmill.toolchains import pip
from modelmill_artifacts import canonical

FOLDER = "environments"
MAKES = "--environments"
"""What `modelmill lock` is told in order to make whatever environments a build lacks."""

State = Literal["good", "missing", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An environment in a store: its name, the digest of its pins, and the bytes of its files."""

    name: str
    pins: str
    size: int


def pins_digest(pins: tuple[Pin, ...]) -> str:
    """One digest over the wheels of an environment."""
    return canonical.sha256(sorted([pin.name, pin.version, pin.sha256] for pin in pins))


def tools_digest(tools: Iterable[Mapping[str, Any]]) -> str:
    """The same of a toolchain's tools as a step's key has them."""
    return canonical.sha256(sorted([tool["name"], tool["version"], tool["digest"]] for tool in tools))


def folder(store: Path, pins: tuple[Pin, ...]) -> Path:
    """Where the environment of these pins lies in a store, or would lie: named by their digest and the interpreter."""
    interpreter = [this_platform(), ".".join(map(str, sys.version_info[:3]))]
    return store.absolute() / FOLDER / canonical.sha256([pins_digest(pins), *interpreter])


def counted(pins: tuple[Pin, ...]) -> str:
    """How many packages there are, for people."""
    return "1 package" if len(pins) == 1 else f"{len(pins)} packages"


def python_of(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / "bin" / "python"


def state(store: Path, pins: tuple[Pin, ...]) -> State:
    """Whether an environment is there as it was made: told by the stat of its files, which are not read."""
    where = folder(store, pins)
    try:
        made = json.loads(_note(where).read_bytes())
    except (OSError, ValueError):
        return "missing"
    if not python_of(where).exists():
        return "changed"
    return "good" if made.get("files") == _stamp(where) else "changed"


def ensure(store: Store, name: str, pins: tuple[Pin, ...], told: Callable[[str], None]) -> Path:
    """Have the environment of a toolchain, and return it; it stays as it is until this process ends.

    Makes it where it is missing, and anew where it was changed. Waits while another process makes it. `told` hears
    of both in a line. ToolchainError where it cannot be made: DigestError where a wheel is not the pinned one.
    """
    where = folder(store.root, pins)
    with writing(where):
        where.parent.mkdir(exist_ok=True)
        descriptor = os.open(_lock(where), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            told(f"toolchain {name}: waiting for another build that makes its environment")
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if state(store.root, pins) == "good":
            return where
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        found = state(store.root, pins)
        if found == "changed":
            store.warn(f"toolchain {name!r}: its environment changed since it was made, so it is made again ({where})")
        if found != "good":
            told(f"toolchain {name}: making its environment of {counted(pins)}")
            try:
                _make(where, name, pins, descriptor)
            except BaseException:
                os.close(descriptor)
                raise


def _make(where: Path, name: str, pins: tuple[Pin, ...], descriptor: int) -> None:
    """Make an environment under its lock; the note that says that it is whole is written last."""
    _remove(where)
    try:
        with writing(where):
            venv.create(where, with_pip=False, symlinks=True)
        pip.install(pins, python_of(where), descriptor)
        write_atomic(_note(where), json.dumps({"pins": pins_digest(pins), "files": _stamp(where)}).encode())
    except ToolchainError as error:
        _remove(where)
        raise type(error)(f"toolchain {name!r}: its environment cannot be made: {error}") from error
    except BaseException:
        _remove(where)
        raise


def _remove(where: Path) -> None:
    _note(where).unlink(missing_ok=True)
    shutil.rmtree(where, ignore_errors=True)


def _note(where: Path) -> Path:
    return where.with_name(f"{where.name}.json")


def _lock(where: Path) -> Path:
    return where.with_name(f"{where.name}.lock")


def _stamp(where: Path) -> str:
    """One digest over path, size and time of every file; caches of bytecode come and go and do not matter."""
    return canonical.sha256(sorted(_files(where)))


def _files(where: Path) -> Iterator[tuple[str, int, int]]:
    for root, folders, names in os.walk(where):
        folders[:] = [item for item in folders if item != "__pycache__"]
        for item in names:
            status = os.lstat(os.path.join(root, item))  # noqa: PTH118 - tens of thousands of files
            yield f"{os.path.relpath(root, where)}/{item}", status.st_size, status.st_mtime_ns


def share(store: Store, other: Store) -> None:
    """Let another, new store have the environments of this one: they hold what is pinned, whoever made them."""
    (store.root / FOLDER).mkdir(exist_ok=True)
    (other.root / FOLDER).symlink_to(store.root / FOLDER)


def kept(store: Store) -> tuple[Kept, ...]:
    """The environments in a store; one that is half made has no pins."""
    found = []
    for where in sorted(store.root.glob(f"{FOLDER}/*/")):
        pins = ""
        with contextlib.suppress(OSError, ValueError, KeyError):
            pins = str(json.loads(_note(where).read_bytes())["pins"])
        found.append(Kept(name=where.name, pins=pins, size=size(where)))
    return tuple(found)


def size(where: Path) -> int:
    """Bytes of the files of an environment."""
    return sum(count for _, count, _ in _files(where))


def remove(store: Store, name: str) -> bool:
    """Remove an environment that nobody uses; say whether it is gone."""
    where = store.root / FOLDER / name
    descriptor = os.open(_lock(where), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        _remove(where)
        return not where.exists()
    finally:
        os.close(descriptor)
