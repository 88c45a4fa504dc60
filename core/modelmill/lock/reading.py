"""Facts of a source: what the format's owner says of its files, kept under the files' digests."""

from pathlib import Path

from modelmill.checkpoint import file_sizes
from modelmill.config import SourceTable
from modelmill.errors import ConfigError, ModelmillError
from modelmill.installed.digests import package_digest
from modelmill.lock.fetching import Fetcher
from modelmill.lock.layout import lay_out, show_in_place
from modelmill.lock.origin import Origin
from modelmill.lock.peek import can_peek
from modelmill.lock.records import LockedSource
from modelmill.registry import Offer, Registry
from modelmill.store import Store
from modelmill.store.facts import decode_facts, encode_facts
from modelmill.types import Facts, Format, SourceFile
from modelmill_artifacts import canonical


def read_facts(
    place: Origin, locked: LockedSource, root: Path | None, fetcher: Fetcher, registry: Registry
) -> tuple[Facts, bool]:
    """What the format's owner says of a source's files, and whether that is from headers alone.

    Of weights that are not here only the headers are fetched: a plan needs no more, and refuses what cannot
    work before gigabytes come. Other files that are not here are fetched.
    """
    store = fetcher.store
    missing = () if root is not None else fetcher.missing(locked.files)
    whole, peeked = _keys(locked, place.table, registry, store)
    if (facts := _kept(store, whole)) is not None:
        return facts, False
    if missing and (facts := _kept(store, peeked)) is not None:
        return facts, True
    headers = tuple(file for file in missing if can_peek(file.path))
    workspace = store.workspace(f"facts-{locked.name}")
    try:
        folder = workspace.folder / "in"
        fetcher.fetch(place, locked.revision, [file for file in missing if file not in headers])
        fetcher.peek(place, locked.revision, headers, folder)
        lay_out(store, root, [file for file in locked.files if file not in headers], folder)
        facts = _read(place, folder, registry)
    finally:
        workspace.remove()
    store.keep_facts(peeked if headers else whole, encode_facts(facts))
    return facts, bool(headers)


def check_headers(place: Origin, root: Path, files: tuple[SourceFile, ...], store: Store, registry: Registry) -> None:
    """Have the format's owner look at files in place before anything else reads them. Its errors are `read_facts`'s."""
    workspace = store.workspace(f"facts-{place.name}")
    try:
        show_in_place(root, files, workspace.folder / "in")
        _read(place, workspace.folder / "in", registry)
    finally:
        workspace.remove()


def _keys(locked: LockedSource, table: SourceTable, registry: Registry, store: Store) -> tuple[str, str]:
    """What facts are kept under: the files, and the code that reads them; when that changes, they are read again.

    Facts from headers alone, whose files nobody has held against their digests yet, are kept apart.
    """
    modules = {registry.formats[name].plugin.module for name in registry.formats}
    said = {
        "files": locked.digest(),
        "format": table.format,
        "owners": {module: package_digest(module, store.index) for module in sorted(modules)},
        "licence": table.license,
        "pickle": table.pickle,
    }
    return canonical.sha256(said), canonical.sha256({**said, "peeked": True})


def _kept(store: Store, key: str) -> Facts | None:
    """The facts under a key, if they are there and sound."""
    found = store.facts(key)
    if found is None:
        return None
    try:
        return decode_facts(found)
    except (KeyError, TypeError, ValueError):
        return None


def _read(place: Origin, folder: Path, registry: Registry) -> Facts:
    try:
        return _detect(place, folder, registry).record.facts(folder)
    except ModelmillError as error:
        raise type(error)(f"source {place.name!r}: {error}") from error


def _detect(place: Origin, folder: Path, registry: Registry) -> Offer[Format]:
    is_allowed = place.table.pickle != "refuse"
    if place.table.format is not None:
        offer = registry.formats[place.table.format]
        if offer.record.pickles and not is_allowed:
            raise ConfigError(
                f"its weights are Python pickles, which can run any code when they are loaded; say "
                f'`pickle = "weights-only"` in [source.{place.name}] to take what holds tensors alone'
            )
        return offer
    offers = tuple(registry.formats.all())
    found = [offer for offer in offers if is_allowed and offer.record.pickles and offer.record.detect(folder)]
    found = found or [offer for offer in offers if not offer.record.pickles and offer.record.detect(folder)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(registry.formats)
    if not found:
        if empty := [path for path, size in file_sizes(folder).items() if not size]:
            raise ConfigError(f"there is nothing in {', '.join(empty)} (0 bytes); bring the file whole")
        raise ConfigError(f"its files are of no known format ({known}); say `format = …` in [source.{place.name}]")
    several = ", ".join(offer.record.name for offer in found)
    raise ConfigError(f"its files could be {several}; say `format = …` in [source.{place.name}]")
