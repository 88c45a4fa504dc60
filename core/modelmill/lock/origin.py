"""One source of build.toml as its plugin is called: what a plugin raises by mistake is told as the plugin's fault."""

import http.client
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelmill.config import Build, SourceTable
from modelmill.errors import ModelmillError, PluginError
from modelmill.lock.files import lock_path
from modelmill.lock.patience import patiently
from modelmill.registry import Offer, Registry
from modelmill.types import Location, Opener, Resolution, Source, SourceFile, Stream

_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")
_HERE = re.compile(r"(?P<scheme>path:(?://)?|fsspec:(?:file|local)://)?(?P<path>/.*)")
_PASSED = (ModelmillError, OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A source's table, the plugin that reaches it, where it is, and the lock file that pins it."""

    name: str
    table: SourceTable
    offer: Offer[Source]
    location: Location
    lock: Path

    @property
    def stated(self) -> str:
        """The URI as lock, artifacts and errors may say it."""
        return stated_uri(self.table.uri)

    def resolve(self, scratch: Path) -> Resolution:
        """What it stands for now. SourceError, or PluginError."""

        def resolve() -> Resolution:
            with self._faults(ModelmillError):
                return self.offer.record.resolve(self.location, scratch)

        return patiently(resolve, self.stated)

    @contextmanager
    def connect(self, revision: str, scratch: Path) -> Iterator[Opener]:
        """An opener of files of a resolved revision: not of what the same name may stand for a moment later."""
        pinned = Location(uri=self.location.uri, revision=revision, base=self.location.base)

        def enter() -> tuple[AbstractContextManager[Opener], Opener]:
            manager = self.offer.record.connect(pinned, scratch)
            with self._faults(ModelmillError):
                return manager, manager.__enter__()

        manager, opener = patiently(enter, self.stated)
        try:
            yield lambda file, start: self._open(opener, file, start)
        finally:
            manager.__exit__(None, None, None)

    def _open(self, opener: Opener, file: SourceFile, start: int) -> Stream:
        with self._faults(*_PASSED):
            stream = opener(file, start)

        def read(count: int) -> bytes:
            with self._faults(*_PASSED):
                return stream.read(count)

        return Stream(read=read, close=stream.close, start=stream.start)

    @contextmanager
    def _faults(self, *passed: type[Exception]) -> Iterator[None]:
        """PluginError for whatever a plugin raises but what it may raise."""
        try:
            yield
        except passed:
            raise
        except Exception as error:
            raise PluginError(
                f"{self.offer.plugin}: source {self.offer.record.name!r} failed: {type(error).__name__}: {error}"
            ) from error


def stated_uri(uri: str) -> str:
    """A URI without what is nobody else's business: a password, the query of an address, the folders of this machine.

    Only of an `https` URI may the query go, where signatures are: its digest says what the file is.
    """
    place, mark, fragment = uri.partition("#")
    place = _PASSWORD.sub("//", place)
    if place.startswith("https://"):
        place = place.partition("?")[0]
    here = _HERE.fullmatch(place)
    if here:
        place = f"{here['scheme'] or 'path:'}{PurePosixPath(here['path']).name}"
    return f"{place}{mark}{fragment}"


def origin(build: Build, name: str, registry: Registry) -> Origin:
    """The source of this name; a URI without a scheme is a path."""
    table = build.sources[name]
    scheme, colon, rest = table.uri.partition(":")
    if not colon:
        scheme, rest = "path", table.uri
    location = Location(uri=rest.removeprefix("//"), revision=table.revision, base=build.path.absolute().parent)
    lock = lock_path(build.path)
    return Origin(name=name, table=table, offer=registry.sources[scheme], location=location, lock=lock)
