"""Where a checkpoint comes from."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that a source offers: its path in the checkpoint, its size, and its digest where it is known."""

    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a URI stands for now: an exact revision, and its files.

    `root` is the folder that holds the files where they lie on this machine already and are to be used in place.
    `mixed` says that they may be more than one model's, or in more than one framework's format: where build.toml
    does not `include` some of them, the engine then takes one checkpoint's own.
    """

    revision: str
    files: tuple[SourceFile, ...]
    root: Path | None = None
    mixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A source as build.toml names it: what follows the URI's scheme, a revision, and the folder it is relative to."""

    uri: str
    revision: str | None
    base: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The bytes of a file from `start` on, read from front to back; `read(n)` gives at most n, and none at the end."""

    read: Callable[[int], bytes]
    close: Callable[[], None]
    start: int = 0


Opener = Callable[[SourceFile, int], Stream]
"""Opens a file to be read from a place on, or from its front where that cannot be; `Stream.start` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A way to reach checkpoints, picked by the URI's scheme.

    `resolve(location, scratch)` says what there is; it may use the network and an empty scratch folder.
    `connect(location, scratch)` is entered before files of the resolved revision, which `location.revision` then
    holds, are fetched, and gives an opener, which is called by several threads at once; it finds in `scratch`
    what `resolve` left there, if that ran just before. The engine does the rest: files at once, tries, resumption,
    digests. All raise SourceError, or TransientError for what may work in a moment; an OSError while a stream is
    read is a cut connection. A `local` source is used where it lies (`Resolution.root`) and looked at in every
    build; any other is resolved once, and the lock then stands for it. `requirement` is what to install where a part
    of it is missing, such as `modelmill[hf]`.
    """

    name: str
    local: bool = False
    resolve: Callable[[Location, Path], Resolution]
    connect: Callable[[Location, Path], AbstractContextManager[Opener]]
    requirement: str = ""
