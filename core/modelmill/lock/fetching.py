"""Files of a source on this machine: fetched where the store lacks them, and only where fetching is allowed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from modelmill.errors import SourceError
from modelmill.lock.download import Note, Order, download
from modelmill.lock.files import lock_command
from modelmill.lock.origin import Origin
from modelmill.lock.peek import peek
from modelmill.lock.records import LockedFile
from modelmill.store import Store
from modelmill.types import SourceFile

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches into a store, telling `note` how far it is; with `offline` it says what is missing instead."""

    store: Store
    offline: bool = False
    note: Note | None = None

    def missing(self, files: Iterable[LockedFile]) -> tuple[LockedFile, ...]:
        """Those of these files that the store lacks."""
        return tuple(file for file in files if not self.store.has_blob(file.sha256, file.size))

    def refuse_unresolved(self, place: Origin) -> None:
        """SourceError where this source would have to be resolved, and may not be."""
        if self.offline and not place.offer.record.local:
            raise SourceError(
                f"source {place.name!r}: {place.lock.name} does not stand for {place.stated}, and --offline asks "
                f"nobody; run `{lock_command(place.lock)}` where there is a network"
            )

    def fetch(
        self,
        place: Origin,
        revision: str,
        files: Iterable[LockedFile | SourceFile],
        scratch: Path | None = None,
    ) -> tuple[LockedFile, ...]:
        """Have these files of a revision in the store.

        `scratch` is what `resolve` has just used, if it has: then the source promised their digests, else the lock.
        """
        wanted = tuple(SourceFile(path=file.path, size=file.size, sha256=file.sha256) for file in files)
        if not wanted:
            return ()
        self.refuse_missing(place, wanted)
        order = Order(origin=place.stated, revision=revision, files=wanted)
        if scratch is None:
            mend = f"if the change is meant, run `{lock_command(place.lock, '--update')}`"
            order = replace(order, promise=f"{place.lock.name} says", mend=mend)
        workspace = self.store.workspace(f"fetch-{place.name}")
        try:
            with place.connect(revision, scratch or workspace.scratch) as opener:
                return download(opener, order, self.store, self.note)
        finally:
            workspace.remove()

    def peek(self, place: Origin, revision: str, files: Iterable[LockedFile], folder: Path) -> None:
        """Fetch the headers of these files only, into files of their sizes below a folder."""
        wanted = tuple(SourceFile(path=file.path, size=file.size, sha256=file.sha256) for file in files)
        if not wanted:
            return
        self.refuse_missing(place, wanted)
        workspace = self.store.workspace(f"peek-{place.name}")
        try:
            with place.connect(revision, workspace.scratch) as opener:
                for file in wanted:
                    peek(opener, place.stated, file, folder / file.path)
        finally:
            workspace.remove()

    def refuse_missing(self, place: Origin, files: tuple[SourceFile, ...]) -> None:
        """SourceError that names what would have to be fetched, where nothing may be."""
        if self.offline:
            names = ", ".join(file.path for file in files[:_SHOWN])
            more = f" and {len(files) - _SHOWN} more files" if len(files) > _SHOWN else ""
            size = sum(file.size for file in files)
            raise SourceError(
                f"source {place.name!r}: the store lacks {names}{more} ({size:,} bytes) of {place.stated}, and "
                f"--offline fetches nothing; run `{lock_command(place.lock, '--fetch')}` where there is a network"
            )
