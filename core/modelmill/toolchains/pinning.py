"""Toolchains of plugins → their pins: from the lock where that stands for them, else resolved and kept there."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelmill.errors import ToolchainError
from modelmill.lock import Locked, LockedToolchain, Pin, lock_command, read_lock, this_platform, write_lock
from modelmill.registry import Registry
from modelmill.store import Store
from modelmill.toolchains import environments, pip
from modelmill.types import Toolchain


def stale(lock: Path, what: str) -> str:
    """The warning of a command that only looks, where the lock is another than what it found."""
    return f"{lock.name} does not stand for {what}; `{lock_command(lock)}` or a build writes it anew"


class Pinner:
    """Pins toolchains in one lock file, and has the environments of those pins in one store.

    Without `keep` the file stays as it is; with `locked` nothing is pinned anew, with `update` all; with `offline`
    no index is asked. `told` hears, in a line each, of what takes long.
    """

    def __init__(
        self,
        path: Path,
        store: Store,
        registry: Registry,
        *,
        keep: bool = True,
        locked: bool = False,
        update: bool = False,
        offline: bool = False,
        told: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    ) -> None:
        self._path = path
        self._store = store
        self._registry = registry
        self._keeps = keep
        self._locked = locked
        self._update = update
        self._offline = offline
        self._told = told
        self._known = dict(read_lock(path).toolchains)
        self._settled: dict[str, tuple[Pin, ...]] = {}
        self._ready: dict[str, Path] = {}
        self.changed: set[str] = set()
        """Names of the toolchains that were pinned anew."""

    @property
    def settled(self) -> Mapping[str, tuple[Pin, ...]]:
        """The toolchains that were asked for so far, by name."""
        return self._settled

    def pins(self, toolchain: Toolchain) -> tuple[Pin, ...]:
        """What a toolchain stands for here. ToolchainError where it is not pinned and may not or cannot be."""
        if toolchain.name not in self._settled:
            self._registry.check_toolchain(toolchain.name)
            self._settled[toolchain.name] = self._find(toolchain)
        return self._settled[toolchain.name]

    def environment(self, toolchain: Toolchain) -> Path:
        """The environment of a toolchain, made if it is not there. ToolchainError where it cannot be made."""
        name, pins = toolchain.name, self.pins(toolchain)
        if name not in self._ready:
            if self._offline and environments.state(self._store.root, pins) != "good":
                raise ToolchainError(
                    f"toolchain {name!r}: its environment is not in the store, and --offline fetches nothing; run "
                    f"`{lock_command(self._path, environments.MAKES)}` where there is a network"
                )
            self._ready[name] = self._made(name, pins)
        return self._ready[name]

    def _made(self, name: str, pins: tuple[Pin, ...]) -> Path:
        try:
            return environments.ensure(self._store, name, pins, self._told)
        except pip.DigestError as error:
            update = lock_command(self._path, "--update")
            raise ToolchainError(f"{error}; if what is there now is to be trusted, pin it with `{update}`") from error
        except ToolchainError as error:
            make = lock_command(self._path, environments.MAKES)
            raise ToolchainError(
                f"{error}; where the package index can be reached ({pip.SETTINGS}), run: {make}"
            ) from error

    def _find(self, toolchain: Toolchain) -> tuple[Pin, ...]:
        known, here = self._known.get(toolchain.name), this_platform()
        stands = known is not None and known.requires == toolchain.requires
        pins = known.on(here) if known is not None and stands else ()
        if pins and not self._update:
            return pins
        if self._locked:
            why = f"is not pinned for {here}" if stands or known is None else "requires other packages than are pinned"
            raise ToolchainError(
                f"{self._path.name}: toolchain {toolchain.name!r} {why}; run `{lock_command(self._path)}`"
            )
        if self._offline:
            raise ToolchainError(
                f"toolchain {toolchain.name!r}: {self._path.name} does not pin it for {here}, and --offline asks "
                f"nobody; run `{lock_command(self._path, environments.MAKES)}` where there is a network"
            )
        self._told(f"toolchain {toolchain.name}: resolving {', '.join(toolchain.requires)}")
        try:
            found = pip.resolve(toolchain.requires)
        except ToolchainError as error:
            raise ToolchainError(
                f"toolchain {toolchain.name!r}: its requirements cannot be resolved: {error}; where the package index "
                f"can be reached ({pip.SETTINGS}), run: {lock_command(self._path)}"
            ) from error
        if found != pins:
            before = known if known is not None and stands else None
            self._keep(before or LockedToolchain(name=toolchain.name, requires=toolchain.requires, pins=()), found)
        return found

    def _keep(self, before: LockedToolchain, found: tuple[Pin, ...]) -> None:
        """Write at once what was resolved: it took a while, and a plan that fails later does not unsay it."""
        self._known[before.name] = before.pinned(this_platform(), found)
        self.changed.add(before.name)
        if not self._keeps:
            if self._path.exists():
                self._store.warn(stale(self._path, f"toolchain {before.name}"))
            return
        now: Locked = read_lock(self._path)
        write_lock(self._path, replace(now, toolchains={**now.toolchains, before.name: self._known[before.name]}))


def tool(pin: Pin) -> dict[str, Any]:
    """A pin as a step's key has a tool."""
    return {
        "name": pin.name,
        "version": pin.version,
        "digest": pin.sha256,
        "licence": pin.licence,
        "native": pip.native(pin),
        "requires": list(pin.requires),
    }
