"""Hardware profiles of boards: every TOML file beside this one, by the file's name."""

from collections.abc import Iterable
from importlib.resources import files

from modelmill import HardwareProfile, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_hardware() -> Iterable[HardwareProfile]:
    """The profiles in this folder."""
    for path in sorted(files(__name__).iterdir(), key=lambda item: item.name):
        if path.name.endswith(".toml"):
            yield HardwareProfile(name=path.name.removesuffix(".toml"), toml=path.read_text(encoding="utf-8"))
