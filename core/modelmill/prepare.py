"""Everything up to the plan: the build file read, its names checked, its sources resolved, its steps decided."""

import fnmatch
import importlib.metadata
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelmill import toolchain
from modelmill.config import Build, Target, check_names, profile_files, profile_texts, read
from modelmill.decode import encode, suggestion
from modelmill.distributions import closure
from modelmill.errors import ConfigError
from modelmill.hardware import load_profile
from modelmill.lock import LockedSource, Resolver, SourceState, read_lock, write_lock
from modelmill.plan import Plan, plan
from modelmill.plan.keys import Identity
from modelmill.registry import Offer, Registry, load
from modelmill.store import Store
from modelmill.types import Hardware, Maker
from modelmill_artifacts import licence, policy
from modelmill_artifacts.errors import ArtifactError

LOCK = "build.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A build that is ready to run."""

    build: Build
    registry: Registry
    store: Store
    resolver: Resolver
    states: Mapping[str, SourceState]
    plan: Plan
    named: tuple[Path, ...]
    """The recipes and hardware profiles that the build file names."""


def store_folder(named: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the store is: as named, else $MODELMILL_STORE, else modelmill in the user's cache folder."""
    if named is not None:
        return named
    if environment.get("MODELMILL_STORE"):
        return Path(environment["MODELMILL_STORE"])
    cache = environment.get("XDG_CACHE_HOME")
    return Path(cache) / "modelmill" if cache else Path.home() / ".cache" / "modelmill"


def prepare(
    file: Path, store: Store, names: tuple[str, ...] = (), *, everything: bool = False, locked: bool = False
) -> Prepared:
    """Read, check, resolve and plan. With `locked`, a lock that does not stand for the sources is refused."""
    build, recipes = _with_recipes(read(file))
    store.share()
    registry = load()
    check_names(build, registry)
    targets = select(build, names, everything=everything)
    lock_path = build.path.absolute().parent / LOCK
    known = read_lock(lock_path)
    resolver = Resolver(build, registry, store, known)
    needed = sorted({name for target in targets for name in (target.source, *target.inputs.values())})
    states = {name: resolver.resolve(name) for name in needed}
    _check_licences(build, states)
    _keep_lock(build, lock_path, known, states, locked=locked)
    return Prepared(
        build=build,
        registry=registry,
        store=store,
        resolver=resolver,
        states=states,
        named=(*recipes, *profile_files(targets, lock_path.parent)),
        plan=plan(
            targets,
            states,
            registry,
            _profiles(build, registry, targets),
            {name: source.requantize for name, source in build.sources.items()},
            identifier(store),
        ),
    )


def select(build: Build, names: tuple[str, ...], *, everything: bool) -> tuple[Target, ...]:
    """The targets that were named (patterns count), or all, or those that are built by default."""
    if not names:
        chosen = tuple(target for target in build.targets.values() if everything or target.default)
        if not chosen:
            raise ConfigError(f"{build.path.name}: no target is built by default; name one, or say --all")
        return chosen
    found: dict[str, Target] = {}
    for name in names:
        matching = fnmatch.filter(build.targets, name)
        if not matching:
            raise ConfigError(f"{build.path.name}: there is no target {name!r}; {suggestion(name, build.targets)}")
        found |= {item: build.targets[item] for item in matching}
    return tuple(found.values())


def identifier(store: Store) -> Callable[[Offer[Maker[Any]]], Identity]:
    """Tells what makes a step's bytes beside its job; see `keys.Identity`."""
    engine = {"version": importlib.metadata.version("modelmill"), "digest": toolchain.engine_digest(store.index)}

    def identify(offer: Offer[Maker[Any]]) -> Identity:
        record, plugin = offer.record, offer.plugin
        tools = closure(record.tools, record.requirement, store.index)
        identity: dict[str, Any] = {
            "plugin": {
                "distribution": plugin.distribution,
                "module": plugin.module,
                "version": plugin.version,
                "digest": toolchain.package_digest(plugin.module, store.index),
            },
            "engine": engine,
            "tools": [encode(tool) for tool in tools],
        }
        if any(tool.native for tool in tools):
            identity["platform"] = toolchain.platform_facts()
        return identity

    return identify


def _profiles(build: Build, registry: Registry, targets: tuple[Target, ...]) -> dict[str, Hardware]:
    texts = profile_texts(build, registry, targets)
    return {target.hardware: load_profile(target.hardware, texts) for target in targets}


def _keep_lock(
    build: Build, path: Path, known: Mapping[str, LockedSource], states: Mapping[str, SourceState], *, locked: bool
) -> None:
    """Write what was resolved beside what the lock knows of other sources; or refuse where nothing may change."""
    kept = {name: source for name, source in known.items() if name in build.sources}
    found = {**kept, **{name: state.locked for name, state in states.items()}}
    if locked:
        stale = sorted(name for name, source in found.items() if known.get(name) != source)
        if stale:
            raise ConfigError(f"{path.name}: does not stand for source {', '.join(stale)}; run `modelmill lock`")
        return
    if found != known:
        write_lock(path, found.values())


def _check_licences(build: Build, states: Mapping[str, SourceState]) -> None:
    """Refuse a source whose licence `[policy] licenses` does not allow, before any work."""
    allowed = build.policy.licenses
    if allowed is None:
        return
    for name, state in states.items():
        stated = state.locked.licence
        try:
            policy.check_licence(None if stated is None else licence.normalise(stated), allowed)
        except ArtifactError as error:
            raise ConfigError(f"{build.path.name}: source {name!r}, {error}") from error


def _with_recipes(build: Build) -> tuple[Build, tuple[Path, ...]]:
    """Options that name a TOML file become its content: a step never gets a path. Also the files' paths."""
    base = build.path.absolute().parent
    read_files: list[Path] = []
    targets = {
        name: replace(target, options=_read_recipes(target.options, base, f"target {name!r}", read_files))
        for name, target in build.targets.items()
    }
    return replace(build, targets=targets), tuple(read_files)


def _read_recipes(options: Mapping[str, Any], base: Path, where: str, read_files: list[Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            found[key] = _read_recipes(value, base, where, read_files)
        elif isinstance(value, str) and value.endswith(".toml"):
            read_files.append(base / value)
            try:
                found[key] = tomllib.loads((base / value).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ConfigError(f"{where}: option {key!r} names {value}, which cannot be read: {error}") from error
        else:
            found[key] = value
    return found
