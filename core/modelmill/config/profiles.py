"""Every hardware profile that a build file may name: those that plugins offer, and files that lie beside it."""

from collections.abc import Iterable
from pathlib import Path

from modelmill.config.records import Target
from modelmill.errors import ConfigError
from modelmill.registry import Registry

_LIMIT = 1 << 20


def offered(registry: Registry) -> dict[str, str]:
    """The TOML of every profile that plugins offer, by name."""
    return {name: registry.hardware[name].record.toml for name in registry.hardware}


def profile_texts(file: Path, targets: Iterable[Target], registry: Registry) -> dict[str, str]:
    """The TOML of every profile that plugins offer or these targets of a build file name as files.

    Raises ConfigError for a file that cannot be read, or whose name another profile has.
    """
    texts = offered(registry)
    found: dict[str, Path] = {}
    for target in targets:
        if target.hardware_file is None:
            continue
        path = file.absolute().parent / target.hardware_file
        if target.hardware in texts and found.get(target.hardware) != path:
            raise ConfigError(f"{target.hardware_file}: another profile is called {target.hardware!r}; rename the file")
        found[target.hardware] = path
        texts[target.hardware] = profile_text(path, target.hardware_file)
    return texts


def profile_files(targets: Iterable[Target], base: Path) -> tuple[Path, ...]:
    """The profiles' files that targets name."""
    return tuple(base / target.hardware_file for target in targets if target.hardware_file is not None)


def profile_text(path: Path, named: str) -> str:
    """The text of a profile's file. Raises ConfigError where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise ConfigError(f"{named}: larger than 1 MiB, so it is no hardware profile")
        return data.decode()
    except OSError as error:
        reason = f"{named}: cannot be read ({error.strerror}); `modelmill hardware detect` writes a profile"
        raise ConfigError(reason) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{named}: not UTF-8 text; save the file as UTF-8") from error
