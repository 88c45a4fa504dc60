"""One source of build.toml as its plugin is called: what a plugin raises by mistake is told as the plugin's fault."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelmill.config import Build, SourceTable
from modelmill.errors import ModelmillError, PluginError
from modelmill.lock.patience import patiently
from modelmill.registry import Offer, Registry
from modelmill.types import Location, Opener, Resolution, Source, SourceFile, Stream

_PASSED = (ModelmillError, OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A source's table, the plugin that reaches it, and where it is."""

    name: str
    table: SourceTable
    offer: Offer[Source]
    location: Location

    def resolve(self, scratch: Path) -> Resolution:
        """What it stands for now. SourceError, or PluginError."""

        def resolve() -> Resolution:
            try:
                return self.offer.record.resolve(self.location, scratch)
            except ModelmillError:
                raise
            except Exception as error:
                raise self._foreign(error) from error

        return patiently(resolve, self.table.uri)

    @contextmanager
    def connect(self, revision: str, scratch: Path) -> Iterator[Opener]:
        """An opener of files of a resolved revision: not of what the same name may stand for a moment later."""
        pinned = Location(uri=self.location.uri, revision=revision, base=self.location.base)
        manager = self.offer.record.connect(pinned, scratch)
        try:
            opener = manager.__enter__()
        except ModelmillError:
            raise
        except Exception as error:
            raise self._foreign(error) from error
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


def origin(build: Build, name: str, registry: Registry) -> Origin:
    """The source of this name; a URI without a scheme is a path."""
    table = build.sources[name]
    scheme, colon, rest = table.uri.partition(":")
    if not colon:
        scheme, rest = "path", table.uri
    location = Location(uri=rest.removeprefix("//"), revision=table.revision, base=build.path.absolute().parent)
    return Origin(name=name, table=table, offer=registry.sources[scheme], location=location)
