"""One file from the web: streamed, hashed on the way, resumed after a cut, refused when its digest is another.

Only the standard library, because a base install must be able to fetch what a lock names.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from modelmill import SourceError

_CHUNK = 1024 * 1024
_ATTEMPTS = 5
_TIMEOUT = 60.0
_LONGEST_WAIT = 60.0
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_PARTIAL = 206
_RANGE_ENDS = 416


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to fetch. `shown` names it in errors and holds no secret; `headers` may."""

    url: str
    shown: str
    size: int | None = None
    sha256: str | None = None
    headers: Mapping[str, str]


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and takes no credentials along to another host: hubs redirect to storage of others."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise SourceError(f"{urlsplit(req.full_url).hostname} redirects to an address without https")
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            found.remove_header("Authorization")
        return found


class _Cut(Exception):  # noqa: N818 - no error yet: the next attempt goes on from here
    """The connection ended before the file did."""


def fetch_file(wanted: Wanted, target: Path, wait: Callable[[float], None] = time.sleep) -> str:
    """Write the file and return its sha256. `wait` sleeps between attempts.

    After a cut the file is resumed where it ended, if the server can. A finished file with another size or
    digest than wanted is fetched once more, then refused. SourceError says what the server said otherwise.
    """
    for _ in range(2):
        digest, size = _whole(wanted, target, wait)
        if (wanted.sha256 or digest) == digest and (wanted.size is None or wanted.size == size):
            return digest
        target.unlink()
    raise SourceError(
        f"{wanted.shown}: has the sha256 {digest} and {size:,} bytes, twice in a row, where "
        f"{wanted.sha256 or 'any sha256'} and {wanted.size if wanted.size is not None else 'any number of'} bytes "
        "were promised; nothing of it is used"
    )


def _whole(wanted: Wanted, target: Path, wait: Callable[[float], None]) -> tuple[str, int]:
    hashed, done = hashlib.sha256(), 0
    with target.open("wb") as file:
        for attempt in range(_ATTEMPTS):
            try:
                with _open(wanted, done) as response:
                    if done and response.status != _PARTIAL:
                        hashed, done = hashlib.sha256(), 0
                        file.seek(0)
                        file.truncate()
                    while chunk := response.read(_CHUNK):
                        file.write(chunk)
                        hashed.update(chunk)
                        done += len(chunk)
                if wanted.size is None or done >= wanted.size:
                    return hashed.hexdigest(), done
                raise _Cut  # noqa: TRY301 - a clean end too early is a cut as well
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == _RANGE_ENDS and done:
                    return hashed.hexdigest(), done
                if error.code not in _RETRIED or attempt + 1 == _ATTEMPTS:
                    raise SourceError(f"{wanted.shown}: {refused(error.code)}") from None
                wait(_pause(attempt, error.headers.get("Retry-After")))
            except (_Cut, http.client.HTTPException, OSError) as error:
                if attempt + 1 == _ATTEMPTS:
                    raise SourceError(
                        f"{wanted.shown}: the connection fails again and again: {_reason(error)}"
                    ) from None
                wait(_pause(attempt, None))
    raise AssertionError("the last attempt returns or raises")


def _open(wanted: Wanted, start: int) -> Any:
    request = urllib.request.Request(wanted.url, headers=dict(wanted.headers))  # noqa: S310 - callers fix the scheme
    request.add_header("Accept-Encoding", "identity")
    if start:
        request.add_header("Range", f"bytes={start}-")
    return urllib.request.build_opener(_SameHost()).open(request, timeout=_TIMEOUT)


def size_of(wanted: Wanted) -> int:
    """The size that the server states. SourceError where it does not."""
    request = urllib.request.Request(wanted.url, headers=dict(wanted.headers), method="HEAD")  # noqa: S310
    try:
        with urllib.request.build_opener(_SameHost()).open(request, timeout=_TIMEOUT) as response:
            stated = response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"{wanted.shown}: {refused(error.code)}") from None
    except (http.client.HTTPException, OSError) as error:
        raise SourceError(f"{wanted.shown}: cannot be reached: {_reason(error)}") from None
    if not stated.isdecimal():
        raise SourceError(f"{wanted.shown}: the server does not say how large the file is")
    return int(stated)


def refused(code: int) -> str:
    """What an HTTP status means to who wanted a file."""
    known = {
        401: "the server wants credentials (401); log in or set a token",
        403: "the server refuses access (403); the token may lack it, or a licence waits to be accepted",
        404: "there is no such file (404); check its spelling and revision",
        410: "the file is gone (410)",
        429: "the server asks for fewer requests (429); try again later",
    }
    return known.get(code, f"the server answers {code}; try again later")


def _pause(attempt: int, stated: str | None) -> float:
    """Seconds before the next attempt: what the server asks for, else twice as long each time."""
    seconds = float(stated) if stated and stated.isdecimal() and len(stated) < 6 else 0.5 * 2**attempt  # noqa: PLR2004
    return min(seconds, _LONGEST_WAIT)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__.strip("_").lower()
