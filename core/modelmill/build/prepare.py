"""Everything up to the plan: the build file read, its names checked, its sources resolved, its steps decided."""

import fnmatch
import importlib.metadata
import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from modelmill.config import Build, Target, check_names, profile_files, profile_texts, read
from modelmill.decode import encode, suggestion
from modelmill.errors import ConfigError, ModelmillError, ToolchainError
from modelmill.hardware.schema import load_profile
from modelmill.installed import digests
from modelmill.installed.distributions import closure
from modelmill.lock import Locked, Resolver, SourceState, lock_command, lock_path, read_lock, write_lock
from modelmill.lock.download import Note
from modelmill.plan import Plan, plan
from modelmill.plan.keys import Identify, Identity
from modelmill.registry import Offer, Registry, load
from modelmill.store import Store
from modelmill.toolchains.pinning import Pinner, stale, tool
from modelmill.types import Maker
from modelmill_artifacts import licence, policy
from modelmill_artifacts.errors import ArtifactError

LockUse = Literal["write", "look", "refuse"]
"""Of a lock that does not stand for what is built: it is written anew, or left and told of, or an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A build that is ready to run."""

    build: Build
    registry: Registry
    store: Store
    resolver: Resolver
    states: Mapping[str, SourceState]
    plan: Plan
    pinner: Pinner
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
    file: Path,
    store: Store,
    names: tuple[str, ...] = (),
    *,
    everything: bool = False,
    lock: LockUse = "look",
    offline: bool = False,
    told: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    note: Note | None = None,
) -> Prepared:
    """Read, check, resolve and plan; `told` hears, in a line each, of what takes long, `note` how far fetching is.

    `lock` says what becomes of a lock that does not stand for the sources and the toolchains (see `LockUse`). With
    `offline`, sources and toolchains are what lock and store have of them.
    """
    registry = load()
    build, recipes = _with_recipes(read(file, registry))
    store.share()
    for line in registry.deprecations:
        store.warn(line)
    check_names(build, registry)
    targets = select(build, names, everything=everything)
    path = lock_path(build.path)
    known = read_lock(path)
    resolver = Resolver(build, registry, store, known.sources, offline=offline, note=note, told=told)
    needed = _sources(targets)
    if lock == "refuse":
        _refuse_stale(path, [name for name in needed if not resolver.stands_for(name)])
    states = {name: resolver.resolve(name) for name in needed}
    _check_licences(build, states)
    differ = sorted(name for name, state in states.items() if known.sources.get(name) != state.locked)
    if lock == "refuse":
        _refuse_stale(path, differ)
    elif lock == "write":
        _keep_lock(build, path, known, states)
    elif differ and path.exists():
        store.warn(stale(path, f"source {', '.join(differ)}"))
    pinner = Pinner(path, store, registry, keep=lock == "write", locked=lock == "refuse", offline=offline, told=told)
    return Prepared(
        build=build,
        registry=registry,
        store=store,
        resolver=resolver,
        states=states,
        named=(*recipes, *profile_files(targets, path.parent)),
        pinner=pinner,
        plan=_plan(build, targets, states, registry, identifier(store, pinner)),
    )


def beside(prepared: Prepared, names: Collection[str]) -> Prepared:
    """The same build, planned for other targets by what lock and store have; it fetches, pins and writes nothing.

    Raises ModelmillError where that does not suffice.
    """
    build, registry, store = prepared.build, prepared.registry, prepared.store
    path = lock_path(build.path)
    targets = tuple(build.targets[name] for name in names)
    resolver = Resolver(build, registry, store, read_lock(path).sources, offline=True)
    needed = _sources(targets)
    _refuse_stale(path, [name for name in needed if not resolver.stands_for(name)])
    states = {name: prepared.states.get(name) or resolver.resolve(name) for name in needed}
    pinner = Pinner(path, store, registry, keep=False, locked=True, offline=True)
    return replace(
        prepared,
        resolver=resolver,
        states=states,
        pinner=pinner,
        plan=_plan(build, targets, states, registry, identifier(store, pinner)),
    )


def _sources(targets: Collection[Target]) -> list[str]:
    """The sources that targets are made of, by name."""
    return sorted({name for target in targets for name in (target.source, *target.inputs.values())})


def pin_toolchains(
    build: Build, states: Mapping[str, SourceState], registry: Registry, store: Store, pinner: Pinner
) -> None:
    """Pin the toolchains that the targets' steps need. A target that cannot be planned is a plan's to tell of."""
    with_recipes, _ = _with_recipes(build)
    identify = identifier(store, pinner)
    for target in with_recipes.targets.values():
        try:
            _plan(with_recipes, (target,), states, registry, identify)
        except ToolchainError:
            raise
        except ModelmillError:
            continue


def _plan(
    build: Build,
    targets: tuple[Target, ...],
    states: Mapping[str, SourceState],
    registry: Registry,
    identify: Identify,
) -> Plan:
    texts = profile_texts(build, registry, targets)
    hardware = {target.hardware: load_profile(target.hardware, texts) for target in targets}
    requantize = {name: source.requantize for name, source in build.sources.items()}
    return plan(targets, states, registry, hardware, requantize, identify)


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


def identifier(store: Store, pinner: Pinner) -> Identify:
    """Tells what makes a step's bytes beside its job; see `keys.Identity`."""
    engine = {"version": importlib.metadata.version("modelmill"), "digest": digests.engine_digest(store.index)}

    def identify(offer: Offer[Maker[Any]], more: Mapping[str, str]) -> Identity:
        record, plugin = offer.record, offer.plugin
        if record.toolchain is None:
            named = {**dict.fromkeys(record.tools, record.requirement), **more}
            tools = [encode(item) for item in closure(named, store.index)]
        else:
            tools = [tool(pin) for pin in pinner.pins(record.toolchain)]
        identity: dict[str, Any] = {
            "plugin": {
                "distribution": plugin.distribution,
                "module": plugin.module,
                "version": plugin.version,
                "digest": digests.package_digest(plugin.module, store.index),
            },
            "engine": engine,
            "tools": tools,
        }
        if record.toolchain is not None:
            identity["toolchain"] = record.toolchain.name
        if any(item["native"] for item in tools):
            identity["platform"] = digests.platform_facts()
        return identity

    return identify


def _keep_lock(build: Build, path: Path, known: Locked, states: Mapping[str, SourceState]) -> None:
    """Write what was resolved beside what the lock knows of other sources."""
    kept = {name: source for name, source in known.sources.items() if name in build.sources}
    found = {**kept, **{name: state.locked for name, state in states.items()}}
    if found != known.sources:
        write_lock(path, replace(known, sources=found))


def _refuse_stale(path: Path, names: list[str]) -> None:
    if names:
        raise ConfigError(f"{path.name}: does not stand for source {', '.join(names)}; run `{lock_command(path)}`")


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
