"""Descriptions of device classes, one TOML file each."""

from collections.abc import Iterable
from importlib.resources import files

from modelmill import HardwareProfile, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_hardware() -> Iterable[HardwareProfile]:
    """Every profile in this folder; a file's name is its profile's."""
    profiles = [path for path in files(__name__).iterdir() if path.name.endswith(".toml")]
    for path in sorted(profiles, key=lambda item: item.name):
        yield HardwareProfile(name=path.name.removesuffix(".toml"), toml=path.read_text(encoding="utf-8"))
