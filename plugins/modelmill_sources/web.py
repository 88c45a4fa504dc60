"""The source `https`: one file by its address and digest, `https://HOST/PATH#sha256=HEX`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from modelmill import Location, Opener, Resolution, Source, SourceError, SourceFile, Stream
from modelmill_sources.http import Address, open_at, size_of

_DIGEST = re.compile(r"sha256=([0-9a-f]{64})")


def resolve(location: Location, scratch: Path) -> Resolution:  # noqa: ARG001 - the digest is known beforehand
    """The file with the digest that the URI pins. SourceError where it pins none or the server has no such file."""
    address, name, sha256 = _address(location)
    file = SourceFile(path=name, size=size_of(address), sha256=sha256)
    return Resolution(revision=f"sha256:{sha256}", files=(file,))


@contextmanager
def connect(location: Location, scratch: Path) -> Iterator[Opener]:  # noqa: ARG001
    """Opens the one file that there is."""
    address, name, _ = _address(location)

    def open_file(file: SourceFile, start: int) -> Stream:
        if file.path != name:
            raise SourceError(f"{address.shown}: holds {name}, not {file.path}")
        return open_at(address, start)

    yield open_file


def _address(location: Location) -> tuple[Address, str, str]:
    address, _, fragment = location.uri.partition("#")
    parts = urlsplit(f"https://{address}")
    shown = f"https://{parts.hostname}{parts.path}"
    match = _DIGEST.fullmatch(fragment)
    if not match:
        raise SourceError(f"{shown}: pin the file by its digest: https://HOST/PATH#sha256=…")
    if parts.username or parts.password:
        raise SourceError(f"{shown}: an address in build.toml must hold no password")
    name = PurePosixPath(unquote(parts.path)).name
    if name in ("", ".", "..") or "\\" in name or "\0" in name:
        raise SourceError(f"{shown}: the address names no file")
    return Address(url=f"https://{address}", shown=shown), name, match[1]


SOURCE = Source(name="https", resolve=resolve, connect=connect)
