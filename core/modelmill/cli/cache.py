"""`modelmill cache`: the store, looked at, checked, and made smaller."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import click

from modelmill.cli import options, show
from modelmill.cli.hashing import hashing
from modelmill.errors import StoreError
from modelmill.execute.machine import cores
from modelmill.history.collect import Holdings, Removed, collect, examined, holdings, unneeded
from modelmill.store import Store, store_folder

_WAIT = click.option(
    "--wait", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Wait so long for builds to end."
)


@click.group()
def command() -> None:
    """Look at the store, check it, and make room in it."""


@command.command()
@options.store
@options.as_json
def stats(store_path: Path | None, as_json: bool) -> None:
    """Say what lies in the store, for whom, and what `gc` would free."""
    store = Store(store_folder(store_path), show.warn)
    with contextlib.suppress(StoreError):  # on a read-only disk nothing is collected
        store.share()
    held = holdings(store)
    free = unneeded(held)
    if as_json:
        show.document(_stats(store, held, free))
        return
    what = [f"{len(held.results)} results", f"{len(held.blobs)} files"]
    if held.environments:
        what.append(show.count(len(held.environments), "tool environment"))
    click.echo(f"{store.root}: {', '.join(what)}, {show.size(held.size)}")
    click.echo(f"{show.size(free.size)} that no remembered build needs; `modelmill cache gc` frees them")
    rows = [(i["target"], str(i["builds"]), show.size(i["bytes"]), i["file"]) for i in _by_target(held)]
    if rows:
        click.echo("\n" + show.table(("target", "builds", "uses", "build file"), rows))


@command.command()
@options.store
@options.as_json
def verify(store_path: Path | None, as_json: bool) -> int:
    """Read every file in the store again; what is damaged is removed, and made again by the next build."""
    store = Store(store_folder(store_path), show.warn)
    store.share()
    total = sum(holdings(store).blobs.values())
    count, bad = 0, []
    with hashing(quiet=as_json) as note:
        for digest, found in examined(store, cores()):
            count += 1
            if note is not None:
                note(found.status.st_size, total)
            if not found.good and store.discard(digest, found.status):
                bad.append(digest)
    if as_json:
        show.document({"store": str(store.root), "files": count, "bytes": total, "damaged": bad})
    else:
        for digest in bad:
            click.echo(f"sha256 {digest}: was damaged, and is removed")
        click.echo(f"{count} files, {show.size(total)}: {len(bad)} damaged")
    return 1 if bad else 0


@command.command()
@options.store
@_WAIT
@options.as_json
def gc(store_path: Path | None, wait: float, as_json: bool) -> None:
    """Remove what no remembered build needs: of each target the last twenty builds are remembered."""
    store = Store(store_folder(store_path), show.warn)
    _tell(store, collect(store, wait), as_json=as_json)


@command.command()
@click.option("--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep the last N builds of each target.")
@click.option("--max-size", metavar="SIZE", help="Forget the least lately used builds until the rest takes this.")
@options.store
@_WAIT
@options.as_json
def prune(keep_last: int | None, max_size: str | None, store_path: Path | None, wait: float, as_json: bool) -> None:
    """Forget older builds, and remove what only they needed."""
    if keep_last is None and max_size is None:
        raise click.UsageError("say what to keep: --keep-last N, --max-size SIZE, or both")
    limit = options.size(max_size, "--max-size") if max_size is not None else None
    store = Store(store_folder(store_path), show.warn)
    _tell(store, collect(store, wait, keep_last, limit), as_json=as_json)


def _tell(store: Store, gone: Removed, *, as_json: bool) -> None:
    if as_json:
        show.document(
            {
                "store": str(store.root),
                "results": list(gone.results),
                "files": len(gone.blobs),
                "environments": list(gone.environments),
                "bytes": gone.size,
            }
        )
        return
    what = [f"{len(gone.results)} results", f"{len(gone.blobs)} files"]
    if gone.environments:
        what.append(show.count(len(gone.environments), "tool environment"))
    click.echo(f"removed {', '.join(what[:-1])} and {what[-1]}, {show.size(gone.size)}")


def _stats(store: Store, held: Holdings, free: Removed) -> dict[str, Any]:
    return {
        "store": str(store.root),
        "results": len(held.results),
        "files": len(held.blobs),
        "environments": len(held.environments),
        "bytes": held.size,
        "unneeded_bytes": free.size,
        "disk_free_bytes": shutil.disk_usage(store.root).free,
        "targets": _by_target(held),
    }


def _by_target(held: Holdings) -> list[dict[str, Any]]:
    found = []
    for item in held.uses:
        blobs = frozenset[str]().union(*(held.of(use) for use in item.uses))
        size = sum(held.sizes[digest] for digest in blobs)
        found.append({"target": item.target, "file": item.file, "builds": len(item.uses), "bytes": size})
    return sorted(found, key=lambda item: (-item["bytes"], item["target"]))
