"""Whether this installation can do what its plugins offer, and the command that mends what it lacks."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelmill import config
from modelmill.errors import ConfigError
from modelmill.execute import machine
from modelmill.installed.extras import missing
from modelmill.lock import LockedToolchain, lock_command, read_lock, this_platform
from modelmill.registry import Registry
from modelmill.toolchains import environments
from modelmill.types import Toolchain

_LITTLE = 2 << 30
_OLDEST = (3, 11)
_PATIENCE = 120.0

State = Literal["good", "missing", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `missing` is an extra that is not installed; `bad` keeps something from working."""

    name: str
    state: State
    said: str
    mend: str = ""


def findings(
    registry: Registry, store: Path, lock: Path, *, load_tools: bool, file: Path | None = None
) -> Iterator[Finding]:
    """Look at everything; `load_tools` also imports every tool in a process of its own.

    Of toolchains, what the lock file pins counts; of sources, signers and packagers, what the build file uses.
    """
    yield _python()
    for plugin in registry.plugins:
        yield Finding(name=f"plugin {plugin.name}", state="good", said=str(plugin))
    for item in registry.broken:
        said = f"{item.distribution} {item.version} {item.reason}"
        yield Finding(name=f"plugin {item.name}", state="bad", said=said, mend=_plugin_mend(item.distribution))
    for name, (requirement, users) in sorted(_tools(registry).items()):
        yield _tool(name, requirement, users, load=load_tools)
    if file is not None and file.is_file():
        yield from _parts(registry, file)
    locked = read_lock(lock).toolchains
    for name, (toolchain, offers) in sorted(registry.toolchains().items()):
        records = ", ".join(sorted({offer.record.name for offer in offers}))
        yield _toolchain(toolchain, locked.get(name), lock, store, f"used by {records}")
    yield _disk(store)
    memory = f"{machine.memory() / 2**30:.1f} GiB for steps, {machine.cores()} cores"
    yield Finding(name="machine", state="good", said=memory)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    said = f"{version}, modelmill {importlib.metadata.version('modelmill')}"
    if sys.version_info[:2] < _OLDEST:
        return Finding(name="python", state="bad", said=said, mend="install Python 3.11 or later")
    return Finding(name="python", state="good", said=said)


def _plugin_mend(distribution: str) -> str:
    """How to mend a broken plugin: one from a folder is its author's to correct, and an index has it from others."""
    try:
        origin = importlib.metadata.distribution(distribution).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        origin = None
    url = urllib.parse.urlsplit(json.loads(origin)["url"] if origin else "")
    if url.scheme == "file":
        return f"correct it in {urllib.request.url2pathname(url.path)}"
    return f"pip install --force-reinstall {distribution}"


def _toolchain(toolchain: Toolchain, known: LockedToolchain | None, lock: Path, store: Path, users: str) -> Finding:
    """A toolchain whose environment is not there yet is no fault: the first build that needs it makes it."""
    name, mend = f"toolchain {toolchain.name}", lock_command(lock, environments.MAKES)
    pins = known.on(this_platform()) if known is not None and known.requires == toolchain.requires else ()
    if not pins:
        said = f"not pinned in {lock.name} for {this_platform()}: the first build that needs it does so; {users}"
        return Finding(name=name, state="missing", said=said, mend=mend)
    where = environments.folder(store, pins)
    match environments.state(store, pins):
        case "good":
            said = f"{environments.counted(pins)}, {environments.size(where) / 2**20:,.1f} MiB in {where}; {users}"
            return Finding(name=name, state="good", said=said)
        case "changed":
            said = f"its environment changed since it was made ({where}); {users}"
            return Finding(name=name, state="bad", said=said, mend=mend)
        case "missing":
            said = f"{environments.counted(pins)} pinned, and their environment is not made yet; {users}"
            return Finding(name=name, state="missing", said=said, mend=mend)


def _tools(registry: Registry) -> dict[str, tuple[str, list[str]]]:
    """Every distribution that some record declares: what to install for it, and the records' names."""
    found: dict[str, tuple[str, list[str]]] = {}
    for _, offer in registry.makers():
        for tool in offer.record.tools:
            found.setdefault(tool, (offer.record.requirement or tool, []))[1].append(offer.record.name)
    return found


def _parts(registry: Registry, file: Path) -> Iterator[Finding]:
    """Whether the build file can be read, and what its sources, its key and its packages need to be installed."""
    try:
        build = config.read(file, registry)
        config.check_names(build, registry)
        used = _used(registry, build)
    except ConfigError as error:
        first, *more = str(error).splitlines()
        said = f"{first} (and {len(more)} more)" if more else first
        line = re.match(rf"{re.escape(file.name)}:(\d+):", first)
        mend = f"correct line {line[1]} of {file.name}" if line else f"correct {file.name}"
        mend += "; `modelmill plan` tells the other mistakes" if more else ""
        yield Finding(name=file.name, state="bad", said=said, mend=mend)
        return
    for name, (requirement, users) in used.items():
        if requirement:
            yield _part(name, requirement, f"used by {', '.join(users)} of {file.name}")


def _used(registry: Registry, build: config.Build) -> dict[str, tuple[str, list[str]]]:
    """The sources, the signer and the packagers that a build file names: what to install for each, and where it is."""
    found: dict[str, tuple[str, list[str]]] = {}
    for name, table in sorted(build.sources.items()):
        scheme, colon, _ = table.uri.partition(":")
        source = registry.sources[scheme if colon else "path"].record
        found.setdefault(f"source {source.name}", (source.requirement, []))[1].append(f"source {name!r}")
    scheme, colon, _ = (build.sign.key or "").partition(":")
    if build.sign.mode == "key" and colon:
        found[f"signer {scheme}"] = (registry.signers[scheme].record.requirement, ["[sign]"])
    for offer in registry.packagers.all():
        if offer.record.table in build.tables:
            found[f"packager {offer.record.name}"] = (offer.record.requirement, [f"[{offer.record.table}]"])
    return found


def _part(name: str, requirement: str, used: str) -> Finding:
    if lacking := missing(requirement):
        said = f"{', '.join(lacking)} not installed; {used}"
        return Finding(name=name, state="missing", said=said, mend=f"pip install '{requirement}'")
    return Finding(name=name, state="good", said=f"{requirement} is installed; {used}")


def _tool(name: str, requirement: str, users: list[str], *, load: bool) -> Finding:
    """A compiler is never needed: what is missing comes prebuilt."""
    used = f"used by {', '.join(sorted(set(users)))}"
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        mend = f"pip install '{requirement}'"
        return Finding(name=f"tool {name}", state="missing", said=f"not installed; {used}", mend=mend)
    reason = _fault(distribution) if load else None
    if reason is not None:
        mend = f"pip install --force-reinstall --no-deps '{name}=={distribution.version}'"
        return Finding(name=f"tool {name}", state="bad", said=f"{distribution.version} {reason}; {used}", mend=mend)
    return Finding(name=f"tool {name}", state="good", said=f"{distribution.version}; {used}")


_LOADER = """
import ctypes, importlib, sys
modules, libraries = (part.split("|") if part else [] for part in sys.argv[1:3])
for name in modules:
    importlib.import_module(name)
waiting = libraries
while waiting:
    failed = []
    for path in waiting:
        try:
            ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        except OSError as error:
            failed.append(path)
            reason = error
    if len(failed) == len(waiting):
        raise reason
    waiting = failed
"""
"""Imports modules, and loads libraries in whatever order they need each other."""


def _fault(distribution: importlib.metadata.Distribution) -> str | None:
    """Why a tool's modules cannot be imported, or, of one that only brings libraries, these cannot be loaded."""
    modules, libraries, extension = set[str](), [], False
    for file in distribution.files or ():
        if len(file.parts) == 2 and file.name == "__init__.py" and file.parts[0].isidentifier():  # noqa: PLR2004
            modules.add(file.parts[0])
        if file.suffix in (".so", ".dylib"):
            if file.name.startswith("lib"):
                libraries.append(str(distribution.locate_file(file)))
            else:
                extension = True
    if extension:
        libraries = []  # its modules load them as they need them
    words = [sys.executable, "-c", _LOADER, "|".join(sorted(modules)), "|".join(sorted(libraries))]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"is installed, but not loaded after {_PATIENCE:.0f} s"
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return f"is installed, but cannot be loaded: {last}"


def _disk(store: Path) -> Finding:
    there = next(path for path in (store, *store.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    said = f"{store}: {free / 2**30:.1f} GiB free"
    if free < _LITTLE:
        return Finding(name="store", state="bad", said=said, mend="modelmill cache prune --keep-last 1")
    return Finding(name="store", state="good", said=said)
