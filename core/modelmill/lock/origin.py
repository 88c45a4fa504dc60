"""One source of build.toml as its plugin is called: what a plugin raises by mistake is told as the plugin's fault."""

import http.client
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelmill.config import Build, SourceTable
from modelmill.errors import ModelmillError, PluginError
from modelmill.lock.patience import patiently
from modelmill.registry import Offer, Registry
from modelmill.types import Location, Opener, Resolution, Source, SourceFile, Stream

_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")
_HERE = re.compile(r"(?P<scheme>path:(?://)?|fsspec:(?:file|local)://)?(?P<path>/.*)")
_PASSED = (ModelmillError, OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A source's table, the plugin that reaches it, and where it is."""

    name: str
    table: SourceTable
    offer: Offer[Source]
    location: Location

    @property
    def stated(self) -> str:
        """The URI as lock, artifacts and errors may say it."""
        return stated_uri(self.table.uri)

    def resolve(self, scratch: Path) -> Resolution:
        """What it stands for now. SourceError, or PluginError."""

        def resolve() -> Resolution:
            try:
                return self.offer.record.resolve(self.location, scratch)
            except ModelmillError:
                raise
            except Exception as error:
                raise self._foreign(error) from error

        return patiently(resolve, self.stated)

    @contextmanager
    def connect(self, revision: str, scratch: Path) -> Iterator[Opener]:
        """An opener of files of a resolved revision: not of what the same name may stand for a moment later."""
        pinned = Location(uri=self.location.uri, revision=revision, base=self.location.base)

        def enter() -> tuple[AbstractContextManager[Opener], Opener]:
            manager = self.offer.record.connect(pinned, scratch)
            try:
                return manager, manager.__enter__()
            except ModelmillError:
                raise
            except Exception as error:
                raise self._foreign(error) from error

        manager, opener = patiently(enter, self.stated)
        try:
            yield lambda file, start: self._open(opener, file, start)
        finally:
            manager.__exit__(None, None, None)

    def _open(self, opener: Opener, file: SourceFile, start: int) -> Stream:
        try:
            stream = opener(file, start)
        except _PASSED:
            raise
        except Exception as error:
            raise self._foreign(error) from error

        def read(count: int) -> bytes:
            try:
                return stream.read(count)
            except _PASSED:
                raise
            except Exception as error:
                raise self._foreign(error) from error

        return Stream(read=read, close=stream.close, start=stream.start)

    def _foreign(self, error: Exception) -> PluginError:
        return PluginError(
            f"{self.offer.plugin}: source {self.offer.record.name!r} failed: {type(error).__name__}: {error}"
        )


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
    return Origin(name=name, table=table, offer=registry.sources[scheme], location=location)
