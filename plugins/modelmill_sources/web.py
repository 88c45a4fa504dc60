"""The source `https`: one file by its address and digest, `https://HOST/PATH#sha256=HEX`."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from modelmill import Location, Resolution, Source, SourceError, SourceFile
from modelmill_sources.download import Wanted, fetch_file, size_of

_DIGEST = re.compile(r"sha256=([0-9a-f]{64})")


def resolve(location: Location, scratch: Path) -> Resolution:  # noqa: ARG001 - the digest is known beforehand
    """The file with the digest that the URI pins. SourceError where it pins none or the server has no such file."""
    wanted, name = _wanted(location)
    file = SourceFile(path=name, size=size_of(wanted), sha256=wanted.sha256)
    return Resolution(revision=f"sha256:{wanted.sha256}", files=(file,))


def fetch(location: Location, files: tuple[SourceFile, ...], out: Path, scratch: Path) -> None:  # noqa: ARG001
    """Fetch the file. SourceError where it is not what the URI pins."""
    wanted, name = _wanted(location)
    for file in files:
        if file.path != name:
            raise SourceError(f"{wanted.shown}: holds {name}, not {file.path}")
        fetch_file(wanted, out / name)


def _wanted(location: Location) -> tuple[Wanted, str]:
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
    return Wanted(url=f"https://{address}", shown=shown, sha256=match[1], headers={}), name


SOURCE = Source(name="https", resolve=resolve, fetch=fetch)
