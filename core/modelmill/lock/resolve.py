"""Sources of build.toml → their locked files and facts, and those files on this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from modelmill.config import Build, SourceTable
from modelmill.config.lines import line_of, locate
from modelmill.errors import SourceError
from modelmill.lock.choose import choose
from modelmill.lock.download import Note
from modelmill.lock.fetching import Fetcher
from modelmill.lock.layout import lay_out
from modelmill.lock.origin import Origin, origin, stated_uri
from modelmill.lock.peek import can_peek
from modelmill.lock.reading import check_headers, read_facts
from modelmill.lock.records import Drift, LockedFile, LockedSource, digest, drift
from modelmill.registry import Registry
from modelmill.store import Store
from modelmill.store.facts import parameters
from modelmill.types import Facts, Resolution, SourceFile

_LONG = 1 << 28
"""Bytes of which the reading may take a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """A source that can be planned with. `root` holds the files of one that is used where it lies.

    `peeked` says that its facts were read from headers whose files are not here yet.
    """

    locked: LockedSource
    facts: Facts
    root: Path | None = None
    peeked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """What a source is now, whatever the lock says."""

    revision: str
    files: tuple[LockedFile, ...]
    root: Path | None = None


class Resolver:
    """Resolves the sources of one build file against its lock, and brings their files when they are wanted.

    With `offline` nothing is asked for elsewhere: what neither lock nor store has is a SourceError. `note` is
    told how far fetching is, `told` of a reading that takes long.
    """

    def __init__(
        self,
        build: Build,
        registry: Registry,
        store: Store,
        locked: Mapping[str, LockedSource],
        *,
        offline: bool = False,
        note: Note | None = None,
        told: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    ) -> None:
        self._build = build
        self._registry = registry
        self._store = store
        self._told = told
        self._locked = locked
        self._fetcher = Fetcher(store=store, offline=offline, note=note)

    def resolve(self, name: str, *, update: bool = False) -> SourceState:
        """The state of a source: from the lock where that stands for it, else from where it comes from."""
        place = origin(self._build, name, self._registry)
        table, known = place.table, self._locked.get(name)
        if known and not update and not place.offer.record.local and _answers(known, table):
            facts, peeked = read_facts(place, known, None, self._fetcher, self._registry)
            return SourceState(locked=known, facts=facts, peeked=peeked)
        now = self._look(place)
        bare = LockedSource(
            name=name,
            uri=place.stated,
            requested=table.revision,
            revision=now.revision,
            format=table.format or "",
            architecture=None,
            scheme=None,
            parameters=0,
            licence=table.license,
            files=now.files,
            include=table.include,
            exclude=table.exclude,
        )
        facts, peeked = read_facts(place, bare, now.root, self._fetcher, self._registry)
        locked = replace(
            bare,
            format=facts.format,
            architecture=facts.architecture,
            scheme=facts.scheme,
            parameters=parameters(facts),
            licence=table.license or facts.licence,
        )
        return SourceState(locked=locked, facts=facts, root=now.root, peeked=peeked)

    def stands_for(self, name: str) -> bool:
        """Whether the lock has an entry for what build.toml asks for under this name."""
        known = self._locked.get(name)
        return known is not None and _answers(known, self._build.sources[name])

    def drift(self, name: str) -> Drift | None:
        """How a source differs now from its lock entry; None where there is no entry for what build.toml asks."""
        if not self.stands_for(name):
            return None
        now = self._look(origin(self._build, name, self._registry))
        return drift(self._locked[name], now.revision, now.files)

    def bring(self, state: SourceState, files: tuple[LockedFile, ...]) -> None:
        """Have these files of a source on this machine: fetch what the store lacks. SourceError if they changed."""
        if state.root is not None or not (missing := self._fetcher.missing(files)):
            return
        place = origin(self._build, state.locked.name, self._registry)
        self._fetcher.fetch(place, state.locked.revision, missing)
        if state.peeked and not self._fetcher.missing(file for file in state.locked.files if can_peek(file.path)):
            facts, _ = read_facts(place, state.locked, None, self._fetcher, self._registry)
            if facts != state.facts:
                raise SourceError(
                    f"source {place.name!r}: the headers that {place.stated} served first are not those of the "
                    "files that it served then; build again, from the files that are here now"
                )

    def lay_out(self, state: SourceState, files: tuple[LockedFile, ...], folder: Path) -> None:
        """Show these files, which are on this machine, as a folder."""
        lay_out(self._store, state.root, files, folder)

    def changed(self, state: SourceState, files: tuple[LockedFile, ...]) -> str | None:
        """The first file of a source in place that is no longer what was planned with."""
        if state.root is None:
            return None
        for file in files:
            try:
                if self._store.index.sha256(state.root / file.path) != file.sha256:
                    return file.path
            except OSError:
                return file.path
        return None

    def _look(self, place: Origin) -> _Now:
        """Resolve anew, and have a digest of every file: the source's own where it states one, else by reading."""
        self._fetcher.refuse_unresolved(place)
        workspace = self._store.workspace(f"source-{place.name}")
        try:
            found = self._found(place, workspace.scratch)
            files = choose(place.name, place.table, found)
            if found.root is not None:
                self._before_reading(place, found.root, files)
                locked = self._digest_in_place(found.root, files)
                # What lies in place has no revision but its content.
                return _Now(revision=f"sha256:{digest(locked)}", files=locked, root=found.root)
            known = self._known(place, found.revision)
            files = tuple(replace(file, sha256=file.sha256 or known.get((file.path, file.size))) for file in files)
            unread = [file for file in files if file.sha256 is None]
            read = self._fetcher.fetch(place, found.revision, unread, workspace.scratch)
        finally:
            workspace.remove()
        stated = (LockedFile(path=f.path, size=f.size, sha256=f.sha256) for f in files if f.sha256 is not None)
        return _Now(revision=found.revision, files=tuple(sorted((*stated, *read), key=lambda file: file.path)))

    def _found(self, place: Origin, scratch: Path) -> Resolution:
        """What a source stands for now; where it is not on this machine, the error says which line named it."""
        try:
            return place.resolve(scratch)
        except SourceError as error:
            if not place.offer.record.local:
                raise
            line = line_of(locate(self._build.text), ("source", place.name, "uri"))
            raise SourceError(f"{self._build.path.name}:{line}: source {place.name!r}: {error}") from error

    def _known(self, place: Origin, revision: str) -> dict[tuple[str, int], str]:
        """The digests that the lock has of this very revision."""
        known = self._locked.get(place.name)
        if known is None or (known.uri, known.revision) != (place.stated, revision):
            return {}
        return {(file.path, file.size): file.sha256 for file in known.files}

    def _before_reading(self, place: Origin, root: Path, files: tuple[SourceFile, ...]) -> None:
        """Where reading every byte takes long: look at the headers first, which may refuse it, and say what goes on."""
        index = self._store.index
        unread = sum(
            file.size for file in files if (root / file.path).is_file() and not index.vouches(root / file.path)
        )
        if unread >= _LONG:
            check_headers(place, root, files, self._store, self._registry)
            self._told(f"source {place.name}: reading {unread:,} bytes for their digests")

    def _digest_in_place(self, root: Path, files: tuple[SourceFile, ...]) -> tuple[LockedFile, ...]:
        found = []
        for file in sorted(files, key=lambda item: item.path):
            path = root / file.path
            try:
                found.append(
                    LockedFile(path=file.path, size=path.stat().st_size, sha256=self._store.index.sha256(path))
                )
            except OSError as error:
                raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
        return tuple(found)


def _answers(known: LockedSource, table: SourceTable) -> bool:
    """Whether a lock entry is for what build.toml asks for now."""
    asked = (stated_uri(table.uri), table.revision, table.include, table.exclude)
    same = (known.uri, known.requested, known.include, known.exclude) == asked
    return same and table.format in (None, known.format) and table.license in (None, known.licence)
