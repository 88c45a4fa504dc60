"""`modelmill lock`: pin the sources and the toolchains."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from modelmill.build.prepare import pin_toolchains
from modelmill.cli import options, show
from modelmill.cli.fetching import fetching
from modelmill.config import Build, read
from modelmill.decode import encode, suggestion
from modelmill.errors import ConfigError, ToolchainError
from modelmill.lock import Drift, Resolver, SourceState, lock_path, read_lock, write_lock
from modelmill.registry import Registry, load
from modelmill.store import Store, store_folder
from modelmill.toolchains.pinning import Pinner


@click.command()
@click.argument("names", metavar="[SOURCE]...", nargs=-1)
@options.build_file
@click.option("--update", is_flag=True, help="Resolve anew what is locked already.")
@click.option("--check", is_flag=True, help="Change nothing; fail if the lock does not stand for the build.")
@click.option("--fetch", is_flag=True, help="Also fetch every locked file and tool, for builds without a network.")
@click.option("--environments", is_flag=True, help="Also make the environments of the toolchains.")
@options.as_json
def command(
    names: tuple[str, ...],
    file: Path,
    store_path: Path | None,
    update: bool,
    check: bool,
    fetch: bool,
    environments: bool,
    as_json: bool,
) -> int:
    """Resolve the sources of the build file, all or those named, and write its lock: build.lock for build.toml.

    With all sources, the toolchains that its targets need are pinned too.
    """
    registry = load()
    build = read(file, registry)
    _check_names(names, build)
    store = Store(store_folder(store_path), show.warn)
    store.share()
    path = lock_path(build.path)
    known = read_lock(path)
    chosen = names or tuple(build.sources)
    told = show.quietly if as_json else show.tell
    with fetching(quiet=as_json) as note:
        resolver = Resolver(build, registry, store, known.sources, note=note, told=told)
        drifts = {name: resolver.drift(name) for name in chosen} if check else {}
        states = {name: resolver.resolve(name, update=update and not check) for name in chosen}
        if fetch:
            for state in states.values():
                resolver.bring(state, state.locked.files)
    found = {name: state.locked for name, state in states.items()}
    kept = {name: source for name, source in known.sources.items() if name in build.sources}
    stale = sorted(name for name, source in found.items() if known.sources.get(name) != source or drifts.get(name))
    if not check:
        write_lock(path, replace(known, sources={**kept, **found}))
    pinner = Pinner(path, store, registry, locked=check, update=update, told=told)
    if not names and registry.toolchains():
        stale.extend(_pin(build, states, registry, store, pinner, check=check))
    if environments or fetch:
        for name in pinner.settled:
            pinner.environment(registry.toolchains()[name][0])
    store.index.save()
    stale.extend(f"toolchain {name}" for name in sorted(pinner.changed))
    moved = {name: item for name, item in drifts.items() if item}
    if as_json:
        document = {"lock": str(path), "changed": stale, "sources": sorted({**kept, **found})}
        show.document({**document, "toolchains": sorted(pinner.settled), "drift": encode(moved)})
    else:
        click.echo(_told(path, stale, len(found), len(pinner.settled), check=check))
        for name, item in moved.items():
            click.echo("\n".join(f"  {name}: {line}" for line in _moved(item)))
    return 2 if check and stale else 0


def _check_names(names: tuple[str, ...], build: Build) -> None:
    for name in names:
        if name not in build.sources:
            raise ConfigError(f"{build.path.name}: there is no source {name!r}; {suggestion(name, build.sources)}")


def _pin(
    build: Build,
    states: Mapping[str, SourceState],
    registry: Registry,
    store: Store,
    pinner: Pinner,
    *,
    check: bool,
) -> list[str]:
    """Pin the toolchains; in a check, say instead why they are not pinned as they should be."""
    try:
        pin_toolchains(build, states, registry, store, pinner)
    except ToolchainError as error:
        if not check:
            raise
        return [str(error)]
    return []


def _told(path: Path, stale: list[str], sources: int, toolchains: int, *, check: bool) -> str:
    if check:
        return f"{path.name} does not stand for {', '.join(stale)}" if stale else f"{path.name} stands for its sources"
    tools = f", {show.count(toolchains, 'toolchain')}" if toolchains else ""
    return f"{show.relative(path)}: {sources} sources{tools}, {len(stale)} changed"


def _moved(item: Drift) -> list[str]:
    """What changed where the source comes from, in a line each."""
    words = {"changed": item.changed, "is new": item.added, "is gone": item.removed}
    lines = [f"revision {item.revision[0]} is now {item.revision[1]}"] if item.revision else []
    return lines + [f"{path} {what}" for what, paths in words.items() for path in paths]
