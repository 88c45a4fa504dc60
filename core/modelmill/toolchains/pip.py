"""pip, asked for two things: what requirements resolve to, and exactly those wheels in a virtual environment.

pip's own settings (PIP_* variables, pip.conf) say where packages come from; those that say where they go are ours.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from modelmill.errors import ToolchainError
from modelmill.installed.distributions import stated_licence
from modelmill.lock.toolchains import Pin, this_platform

_DIGEST = re.compile(r"\s*(Expected sha256|Got) ")
_DROPPED = ("DRY_RUN", "EDITABLE", "NO_DEPS", "PREFIX", "PYTHON", "REPORT", "REQUIREMENT", "REQUIRE_VIRTUALENV", "ROOT")
_OURS = {*(f"PIP_{name}" for name in _DROPPED), "PIP_TARGET", "PIP_USER", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}
SETTINGS = "pip's own settings count, such as PIP_INDEX_URL and PIP_FIND_LINKS"
_PURE = "-none-any.whl"


class DigestError(ToolchainError):
    """A wheel has another digest than the one that it is pinned by."""


def native(pin: Pin) -> bool:
    """Whether a wheel is for one platform only."""
    return not pin.file.endswith(_PURE)


def resolve(requires: tuple[str, ...]) -> tuple[Pin, ...]:
    """What requirements resolve to here and now, with all that they need. ToolchainError in pip's words.

    Wheels only: building a package runs its code, and gives bytes that no digest was known of before.
    """
    with tempfile.TemporaryDirectory(prefix="modelmill-") as folder:
        report = Path(folder) / "report.json"
        _pip(
            *("install", "--dry-run", "--ignore-installed", "--only-binary", ":all:", "--report", str(report)),
            *("--", *requires),
        )
        found = json.loads(report.read_bytes())["install"]
    packages = {str(canonicalize_name(item["metadata"]["name"])): item for item in found}
    edges = _edges(requires, {name: item["metadata"] for name, item in packages.items()})
    return tuple(_pin(name, packages[name], edges.get(name, ())) for name in sorted(packages))


def install(pins: tuple[Pin, ...], python: Path, descriptor: int) -> None:
    """Install exactly these wheels, each checked by its digest. ToolchainError in pip's words.

    pip keeps `descriptor` open: a lock that is held through it outlives an engine that is killed meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="modelmill-") as folder:
        listed = Path(folder) / "pins.txt"
        listed.write_text("".join(f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}\n" for pin in pins))
        _pip(
            *("--python", str(python), "install", "--require-hashes", "--no-deps", "--only-binary", ":all:"),
            *("--no-compile", "--no-warn-script-location", "--requirement", str(listed)),
            keep=(descriptor,),
            unset=("PIP_CONSTRAINT",),  # the pins decide; what constrained them may have changed since
        )


def _pip(*arguments: str, keep: tuple[int, ...] = (), unset: tuple[str, ...] = ()) -> None:
    words = [sys.executable, "-P", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _OURS.union(unset)}
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        pass_fds=keep,
        start_new_session=True,
    )
    try:
        _, told = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # pip runs itself once more, with the environment's Python
        process.communicate()
        raise
    if process.returncode == 0:
        return
    digests = [" ".join(line.split()) for line in told.splitlines() if _DIGEST.match(line)]
    if digests:
        raise DigestError(f"a wheel is not what the lock pins: {', '.join(digests)}")
    raise ToolchainError(_complaint(told) or f"pip ended with status {process.returncode}")


def _complaint(told: str) -> str:
    """What pip says was wrong, in one line: its last error."""
    lines = [line.strip() for line in told.splitlines()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if errors and any("connection broken by" in line for line in lines):  # pip tells so each time that it tries again
        return f"the package index cannot be reached ({errors[-1]})"
    return errors[-1] if errors else next((line for line in reversed(lines) if line), "")


def _pin(name: str, item: Mapping[str, Any], requires: Iterable[str]) -> Pin:
    metadata, origin = item["metadata"], item["download_info"]
    archive = origin.get("archive_info", {})
    digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
    file = origin["url"].partition("#")[0].rpartition("/")[2].replace("%2B", "+")
    return Pin(
        platform=this_platform(),
        name=name,
        version=str(Version(metadata["version"])),
        file=file,
        sha256=digest,
        licence=stated_licence(metadata.get("license_expression"), metadata.get("license")),
        requires=tuple(sorted(requires)),
    )


def _edges(requires: tuple[str, ...], packages: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Which of the packages needs which: markers as they hold here, extras as somebody asked for them."""
    edges: dict[str, set[str]] = {}
    waiting = [Requirement(text) for text in requires]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        asked = waiting.pop()
        name, extras = str(canonicalize_name(asked.name)), tuple(sorted(asked.extras))
        if (name, extras) in seen or name not in packages:
            continue
        seen.add((name, extras))
        for text in packages[name].get("requires_dist", ()):
            needed = Requirement(text)
            if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                continue
            needed_name = str(canonicalize_name(needed.name))
            if needed_name in packages and needed_name != name:
                edges.setdefault(name, set()).add(needed_name)
            waiting.append(needed)
    return edges
