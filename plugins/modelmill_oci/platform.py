"""Which OCI platform a hardware profile stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ARCHITECTURES = {
    "x86_64": "amd64", "amd64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "arm64": "arm64",
    "armv7l": "arm", "arm": "arm", "riscv64": "riscv64", "s390x": "s390x", "ppc64le": "ppc64le",
}  # fmt: skip
_SYSTEMS = {"linux": "linux", "macos": "darwin", "darwin": "darwin", "windows": "windows"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Operating system, architecture and variant in Go's words (image specification, "platform")."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""

    def value(self) -> dict[str, str]:
        """As a descriptor and an image's configuration hold it."""
        found = {"os": self.os, "architecture": self.architecture}
        return {**found, "variant": self.variant} if self.variant else found

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def of(fields: Mapping[str, Any]) -> Platform | None:
    """The platform of a profile's fields or requirements, None where they name no architecture."""
    architecture = architecture_of(fields)
    if architecture is None:
        return None
    variant = fields.get("os.variant", "v8" if architecture == "arm64" else "")
    return Platform(os=system_of(fields) or "linux", architecture=architecture, variant=str(variant))


def of_image(platform: Platform | None) -> Platform:
    """The platform of a container image: images that run or mount are Linux's, also for a macOS profile."""
    platform = platform or Platform()
    return Platform(os="linux", architecture=platform.architecture, variant=platform.variant)


def architecture_of(fields: Mapping[str, Any]) -> str | None:
    """The architecture in Go's words; an unknown one as it stands."""
    value = fields.get("os.arch")
    return _ARCHITECTURES.get(value.lower(), value.lower()) if isinstance(value, str) else None


def system_of(fields: Mapping[str, Any]) -> str | None:
    """The operating system in Go's words; an unknown one as it stands."""
    value = fields.get("os.family")
    return _SYSTEMS.get(value.lower(), value.lower()) if isinstance(value, str) else None


def features_of(fields: Mapping[str, Any]) -> frozenset[str]:
    """The CPU features."""
    value = fields.get("cpu.features")
    return frozenset(str(name).lower() for name in value) if isinstance(value, list | tuple) else frozenset()
