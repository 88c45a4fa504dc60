"""What build.lock holds of one toolchain: the distributions that it resolved to, for each platform by itself."""

import platform
import re
import sys
from dataclasses import dataclass, replace

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"[0-9A-Za-z.!+]+")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One distribution of a toolchain, as its wheel `file` with this sha256 on this platform.

    `requires` are the names of others of the same toolchain that it needs there; `licence` is what it states of
    itself.
    """

    platform: str
    name: str
    version: str
    file: str
    sha256: str
    licence: str | None = None
    requires: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether its words are such as pip may be given: a lock comes from a repository, as build.toml does."""
        return all(
            shape.fullmatch(word) for shape, word in ((_NAME, self.name), (_VERSION, self.version), (_HEX, self.sha256))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedToolchain:
    """A toolchain as it was resolved: what its plugin asked for, and the pins of every platform that built with it."""

    name: str
    requires: tuple[str, ...]
    pins: tuple[Pin, ...]

    def on(self, where: str) -> tuple[Pin, ...]:
        """The pins of one platform, by name."""
        return tuple(sorted((pin for pin in self.pins if pin.platform == where), key=lambda pin: pin.name))

    def pinned(self, where: str, pins: tuple[Pin, ...]) -> "LockedToolchain":
        """The same with these pins for one platform."""
        others = tuple(pin for pin in self.pins if pin.platform != where)
        return replace(self, pins=tuple(sorted((*others, *pins), key=lambda pin: (pin.platform, pin.name))))


def this_platform() -> str:
    """Interpreter, system and machine that pins here are for, such as `cpython-311-linux-x86_64`."""
    return f"{sys.implementation.cache_tag}-{sys.platform}-{platform.machine()}"
