"""Everything up to the plan: the build file read, its names checked, its sources resolved, its steps decided."""

import fnmatch
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from modelmill.build.identity import identifier
from modelmill.build.recipes import with_recipes
from modelmill.config import Build, Target, check_names, profile_files, profile_texts, read
from modelmill.decode import suggestion
from modelmill.errors import ConfigError, ModelmillError, ToolchainError
from modelmill.hardware.schema import load_profile
from modelmill.lock import Locked, Resolver, SourceState, lock_command, lock_path, read_lock, write_lock
from modelmill.lock.download import Note
from modelmill.plan import Plan, plan
from modelmill.plan.keys import Identify
from modelmill.registry import Registry, load
from modelmill.store import Store
from modelmill.toolchains.pinning import Pinner, stale
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
    build = read(file, registry)
    store.share()
    for line in registry.deprecations:
        store.warn(line)
    check_names(build, registry)
    build, recipes = with_recipes(build)
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
    build, _ = with_recipes(build)
    identify = identifier(store, pinner)
    for target in build.targets.values():
        try:
            _plan(build, (target,), states, registry, identify)
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
    texts = profile_texts(build.path, targets, registry)
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
