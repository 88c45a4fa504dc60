"""`modelmill lock`: pin the sources."""

from pathlib import Path

import click

from modelmill.cli import options, show
from modelmill.config import read
from modelmill.decode import suggestion
from modelmill.errors import ConfigError
from modelmill.lock import Resolver, read_lock, write_lock
from modelmill.prepare import LOCK, store_folder
from modelmill.registry import load
from modelmill.store import Store


@click.command()
@click.argument("names", metavar="[SOURCE]...", nargs=-1)
@options.build_file
@click.option("--update", is_flag=True, help="Resolve anew what is locked already.")
@click.option("--check", is_flag=True, help="Change nothing; fail if the lock does not stand for the sources.")
@options.as_json
def command(
    names: tuple[str, ...], file: Path, store_path: Path | None, update: bool, check: bool, as_json: bool
) -> int:
    """Resolve the sources of the build file, all or those named, and write build.lock."""
    build = read(file)
    for name in names:
        if name not in build.sources:
            raise ConfigError(f"{file.name}: there is no source {name!r}; {suggestion(name, build.sources)}")
    store = Store(store_folder(store_path), show.warn)
    store.share()
    path = build.path.absolute().parent / LOCK
    known = read_lock(path)
    resolver = Resolver(build, load(), store, known)
    chosen = names or tuple(build.sources)
    found = {name: resolver.resolve(name, update=update or check).locked for name in chosen}
    store.index.save()
    kept = {name: source for name, source in known.items() if name in build.sources}
    stale = sorted(name for name, source in found.items() if known.get(name) != source)
    if not check:
        write_lock(path, {**kept, **found}.values())
    if as_json:
        show.document({"lock": str(path), "changed": stale, "sources": sorted({**kept, **found})})
    elif check:
        click.echo(f"{LOCK} does not stand for {', '.join(stale)}" if stale else f"{LOCK} stands for its sources")
    else:
        click.echo(f"{show.relative(path)}: {len(found)} sources, {len(stale)} changed")
    return 2 if check and stale else 0
