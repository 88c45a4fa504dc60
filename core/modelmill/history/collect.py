"""What in the store nobody needs any more: which builds to forget, and which files then go."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from modelmill.history.memory import Use, Uses, keep_uses, memories, uses
from modelmill.store import Examined, Store
from modelmill.store.filesystem import left_behind
from modelmill.toolchains import environments
from modelmill.toolchains.environments import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What lies in a store: blobs by digest with their sizes, tool environments, and what each step's result names.

    That is the digests of its files and, where a toolchain made it, the digest of the pins of its environment.
    """

    blobs: Mapping[str, int]
    results: Mapping[str, frozenset[str]]
    uses: tuple[Uses, ...]
    environments: tuple[Kept, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all blobs and environments."""
        return sum(self.sizes.values())

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every blob, and of the environments of every set of pins."""
        found = dict(self.blobs)
        for item in self.environments:
            found[item.pins] = found.get(item.pins, 0) + item.size
        return found

    def of(self, use: Use) -> frozenset[str]:
        """The blobs and pins that a build used, as far as they are there."""
        found = set(use.blobs)
        for key in use.keys:
            found |= self.results.get(key, frozenset())
        return frozenset(found & (self.blobs.keys() | {item.pins for item in self.environments}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was taken out of a store, or would be."""

    results: tuple[str, ...]
    blobs: tuple[str, ...]
    size: int
    environments: tuple[str, ...] = ()


def holdings(store: Store) -> Holdings:
    """Look through a store. A record that cannot be read names nothing, and what goes meanwhile is not there."""
    blobs = {
        path.name: size for path in (store.root / "blobs" / "sha256").iterdir() if (size := _size(path)) is not None
    }
    results = {path.stem: _named(path) for path in (store.root / "steps").glob("*.json")}
    return Holdings(blobs=blobs, results=results, uses=tuple(uses(store)), environments=environments.kept(store))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _named(record: Path) -> frozenset[str]:
    try:
        found = json.loads(record.read_bytes())
        parts = found["components"]
        pins = {environments.tools_digest(parts["tools"])} if "toolchain" in parts else set[str]()
        return frozenset(file["sha256"] for file in found["files"]) | pins
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def newest(found: Iterable[Uses], count: int) -> tuple[Uses, ...]:
    """The last `count` whole builds of each target, and one after them that has not ended well."""
    kept = []
    for item in found:
        whole = [use for use in item.uses if use.whole][:count]
        unfinished = [use for use in item.uses[:1] if not use.whole]
        kept.append(replace(item, uses=(*unfinished, *whole)))
    return tuple(kept)


def within(held: Holdings, limit: int) -> tuple[Uses, ...]:
    """Those builds that stay when the least lately used are forgotten until what they use takes `limit` bytes."""
    everything = sorted(
        ((use.at, place, use) for place, item in enumerate(held.uses) for use in item.uses), key=lambda item: item[:2]
    )
    needed = Counter(digest for _, _, use in everything for digest in held.of(use))
    sizes = held.sizes
    size = sum(sizes[digest] for digest in needed)
    forgotten: set[tuple[int, Use]] = set()
    for _, place, use in everything:
        if size <= limit:
            break
        forgotten.add((place, use))
        for digest in held.of(use):
            needed[digest] -= 1
            if not needed[digest]:
                size -= sizes[digest]
    return tuple(
        replace(item, uses=tuple(use for use in item.uses if (place, use) not in forgotten))
        for place, item in enumerate(held.uses)
    )


def unneeded(held: Holdings) -> Removed:
    """The results that no remembered build used, and the blobs and environments that nothing then names."""
    kept_keys = {key for item in held.uses for use in item.uses for key in use.keys}
    results = sorted(key for key in held.results if key not in kept_keys)
    kept = {digest for item in held.uses for use in item.uses for digest in held.of(use)}
    blobs = sorted(digest for digest in held.blobs if digest not in kept)
    unused = [item for item in held.environments if item.pins not in kept]
    return Removed(
        results=tuple(results),
        blobs=tuple(blobs),
        size=sum(held.blobs[digest] for digest in blobs) + sum(item.size for item in unused),
        environments=tuple(item.name for item in unused),
    )


def collect(store: Store, patience: float, keep_last: int | None = None, max_size: int | None = None) -> Removed:
    """Forget builds as asked, and remove what no remembered build needs. StoreError while a build uses the store.

    Records go before the blobs that they name, so that a kill in between leaves no record that names nothing.
    """
    with store.alone(patience):
        held = holdings(store)
        if keep_last is not None:
            held = replace(held, uses=newest(held.uses, keep_last))
        if max_size is not None:
            held = replace(held, uses=within(held, max_size))
        for item in held.uses:
            keep_uses(store, item)
        gone = unneeded(held)
        for key in gone.results:
            (store.root / "steps" / f"{key}.json").unlink(missing_ok=True)
            (store.root / "locks" / key).unlink(missing_ok=True)
            store.log(key).unlink(missing_ok=True)
        for digest in gone.blobs:
            store.blob(digest).unlink(missing_ok=True)
        for path in (store.root / "partial").iterdir():
            path.unlink(missing_ok=True)
        for name in gone.environments:
            environments.remove(store, name)
        _drop_listings(store)
        for path in _left_behind(store):
            path.unlink(missing_ok=True)
        store.sweep()
    return gone


def _drop_listings(store: Store) -> None:
    known = {
        parts[owner]["digest"]
        for item in memories(store)
        for parts in item.components.values()
        for owner in ("plugin", "engine")
    }
    for path in (store.root / "listings").glob("*.json"):
        if path.stem not in known:
            path.unlink(missing_ok=True)


def _left_behind(store: Store) -> Iterator[Path]:
    """What killed processes had begun to write: in the store's folder, and in those right below it."""
    for folder in (store.root, *(path for path in store.root.iterdir() if path.is_dir())):
        yield from left_behind(folder)
    yield from (store.root / "uptodate").glob("*.json.*")


def examined(store: Store, threads: int) -> Iterator[tuple[str, Examined]]:
    """Read every blob again; one that goes meanwhile is passed over."""
    names = sorted(path.name for path in (store.root / "blobs" / "sha256").iterdir())
    with ThreadPoolExecutor(threads) as pool:
        for name, found in zip(names, pool.map(store.examine, names), strict=True):
            if found is not None:
                yield name, found
