"""Templates → files of a new plugin's repository."""

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from modelmill.errors import ConfigError

KINDS = ("converter", "quantizer", "packager", "source", "signer", "hardware")
"""What a new plugin can offer."""
_SUFFIX = ".in"
"""What the templates' names end with, so that no tool takes them for what they will become."""
_ENGINE = {"modelmill_artifacts": "modelmill"}
"""The engine's own package that no entry point names."""


def new_plugin(name: str, kind: str, parent: Path) -> tuple[Path, ...]:
    """Write the repository `modelmill-NAME` below `parent` and return the paths of its files.

    Raises ConfigError for a name that cannot be a package's or is an installed one's, an unknown kind, and a folder
    that is there already.
    """
    if kind not in KINDS:
        raise ConfigError(f"a plugin of the kind {kind!r} cannot be made; there is {', '.join(KINDS)}")
    short = name.removeprefix("modelmill-").removeprefix("modelmill_")
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", short):
        raise ConfigError(
            f"{name!r} cannot name a plugin: use lower-case letters and digits, joined by hyphens, such as my-format"
        )
    folder = parent / f"modelmill-{short.replace('_', '-')}"
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose another name, or move it away")
    words = _words(short, kind)
    if (owner := _owner(words["PACKAGE"])) is not None:
        raise ConfigError(
            f"{name!r} would make the package {words['PACKAGE']}, which is installed already, by {owner}, and would be "
            "overwritten; choose another name"
        )
    root = files(__name__.rpartition(".")[0]) / "templates"
    made: dict[str, str] = {}
    for place in ("common", kind):
        made |= {_fill(path, words): _fill(text, words) for path, text in _templates(root / place, "")}
    made[f"{words['PACKAGE']}/py.typed"] = ""
    for path, text in sorted(made.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return tuple(folder / path for path in sorted(made))


def _owner(package: str) -> str | None:
    """Whose an installed package is: its distribution, or where it lies; None where there is no such package.

    Of a package that is installed in place no file is listed, so that the entry points of plugins come first.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    points = importlib.metadata.entry_points(group="modelmill")
    known = {point.module.partition(".")[0]: point.dist.name for point in points if point.dist}
    owners = ({**known, **_ENGINE}.get(package), *importlib.metadata.packages_distributions().get(package, ()))
    return next((owner for owner in owners if owner), spec.origin or "a folder on Python's path")


def _words(short: str, kind: str) -> Mapping[str, str]:
    """What stands for `@WORD@` in the templates."""
    hyphens = short.replace("_", "-")
    return {
        "NAME": hyphens,
        "DISTRIBUTION": f"modelmill-{hyphens}",
        "PACKAGE": f"modelmill_{hyphens.replace('-', '_')}",
        "CLASS": "".join(part.capitalize() for part in hyphens.split("-")),
        "VARIABLE": hyphens.replace("-", "_").upper(),
        "KIND": kind,
        "TOOLS": '"numpy>=1.26"' if kind == "quantizer" else "",
    }


def _templates(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _templates(item, f"{prefix}{item.name}/")
        elif item.name.endswith(_SUFFIX):
            found.append((f"{prefix}{item.name.removesuffix(_SUFFIX)}", item.read_text(encoding="utf-8")))
    return found


def _fill(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda match: words[match[1]], text)
