"""A device class: what a profile says of it, and how a plugin offers one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The fields of a hardware profile, by dotted name (`cpu.features`), values as the TOML has them.

    A step sees only the fields that its record names in `uses_hardware`, so that editing another field
    rebuilds nothing.
    """

    fields: Mapping[str, Any]

    def only(self, names: Iterable[str]) -> "Hardware":
        """The same profile with no other fields than these."""
        return Hardware(fields={name: self.fields[name] for name in names if name in self.fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """A hardware profile that a plugin offers: its name and its TOML text, validated when it is loaded."""

    name: str
    toml: str
