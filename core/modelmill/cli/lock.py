"""`modelmill lock`: pin the sources and the toolchains."""

from dataclasses import replace
from pathlib import Path

import click

from modelmill.cli import options, show
from modelmill.config import read
from modelmill.decode import suggestion
from modelmill.errors import ConfigError, ToolchainError
from modelmill.lock import Resolver, read_lock, write_lock
from modelmill.pinning import Pinner
from modelmill.prepare import LOCK, pin_toolchains, store_folder
from modelmill.registry import load
from modelmill.store import Store


@click.command()
@click.argument("names", metavar="[SOURCE]...", nargs=-1)
@options.build_file
@click.option("--update", is_flag=True, help="Resolve anew what is locked already.")
@click.option("--check", is_flag=True, help="Change nothing; fail if the lock does not stand for the build.")
@click.option("--environments", is_flag=True, help="Also make the environments of the toolchains.")
@options.as_json
def command(
    names: tuple[str, ...],
    file: Path,
    store_path: Path | None,
    update: bool,
    check: bool,
    environments: bool,
    as_json: bool,
) -> int:
    """Resolve the sources of the build file, all or those named, and write build.lock.

    With all sources, the toolchains that its targets need are pinned too.
    """
    build = read(file)
    for name in names:
        if name not in build.sources:
            raise ConfigError(f"{file.name}: there is no source {name!r}; {suggestion(name, build.sources)}")
    store = Store(store_folder(store_path), show.warn)
    store.share()
    path = build.path.absolute().parent / LOCK
    known = read_lock(path)
    registry = load()
    resolver = Resolver(build, registry, store, known.sources)
    states = {name: resolver.resolve(name, update=update or check) for name in names or tuple(build.sources)}
    found = {name: state.locked for name, state in states.items()}
    kept = {name: source for name, source in known.sources.items() if name in build.sources}
    stale = sorted(name for name, source in found.items() if known.sources.get(name) != source)
    if not check:
        write_lock(path, replace(known, sources={**kept, **found}))
    pinner = Pinner(path, store, registry, locked=check, update=update, told=show.quietly if as_json else show.tell)
    if not names and registry.toolchains():
        try:
            pin_toolchains(build, states, registry, store, pinner)
        except ToolchainError as error:
            if not check:
                raise
            stale.append(str(error))
    if environments:
        for name in pinner.settled:
            pinner.environment(registry.toolchains()[name][0])
    store.index.save()
    stale.extend(f"toolchain {name}" for name in sorted(pinner.changed))
    if as_json:
        document = {"lock": str(path), "changed": stale, "sources": sorted({**kept, **found})}
        show.document({**document, "toolchains": sorted(pinner.settled)})
    else:
        click.echo(_told(path, stale, len(found), len(pinner.settled), check=check))
    return 2 if check and stale else 0


def _told(path: Path, stale: list[str], sources: int, toolchains: int, *, check: bool) -> str:
    if check:
        return f"{LOCK} does not stand for {', '.join(stale)}" if stale else f"{LOCK} stands for its sources"
    tools = f", {show.count(toolchains, 'toolchain')}" if toolchains else ""
    return f"{show.relative(path)}: {sources} sources{tools}, {len(stale)} changed"
