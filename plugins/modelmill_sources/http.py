"""A file on the web as a stream from a place on, with what a server refuses told in one sentence.

Only the standard library, because a base install must be able to fetch what a lock names.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import urlsplit

from modelmill import SourceError, Stream, TransientError

_TIMEOUT = 30.0
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which another try may do."""
_PARTIAL = 206
_RANGE_ENDS = 416
_DOCUMENT = 64 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A URL to ask. `shown` names it in errors and holds no secret; `url` and `headers` may."""

    url: str
    shown: str
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(SourceError):
    """A server answered with a status that another try would not change."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


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


def open_at(address: Address, start: int) -> Stream:
    """The bytes of a file from `start` on, or from its front where the server knows no ranges.

    Raises TransientError for a server that is busy or out of reach, SourceError for one that refuses.
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        response = _ask(address, "GET", headers)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _RANGE_ENDS and start:
            return open_at(address, 0)
        raise failure(address.shown, error) from None
    return Stream(read=response.read1, close=response.close, start=start if response.status == _PARTIAL else 0)


def size_of(address: Address) -> int:
    """The size that the server states. SourceError where it does not."""
    try:
        with _ask(address, "HEAD", {}) as response:
            stated = response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        error.close()
        raise failure(address.shown, error) from None
    if not stated.isdecimal():
        raise SourceError(f"{address.shown}: the server does not say how large the file is")
    return int(stated)


def document(address: Address, body: bytes | None = None) -> bytes:
    """A short answer, whole; with a body it is posted. Raises SourceError and TransientError as `open_at` does."""
    try:
        with _ask(address, "GET" if body is None else "POST", {}, body) as response:
            found: bytes = response.read(_DOCUMENT + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise failure(address.shown, error) from None
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"{address.shown}: the connection broke: {error or type(error).__name__}") from None
    if len(found) > _DOCUMENT:
        raise SourceError(f"{address.shown}: answers with more than {_DOCUMENT:,} bytes where a short answer is due")
    return found


def _ask(address: Address, method: str, headers: Mapping[str, str], body: bytes | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - callers fix the scheme
        address.url, data=body, headers={**address.headers, **headers, "Accept-Encoding": "identity"}, method=method
    )
    try:
        return urllib.request.build_opener(_SameHost()).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (http.client.HTTPException, OSError) as error:
        raise TransientError(f"{address.shown}: cannot be reached: {_reason(error)}") from None


def failure(shown: str, error: urllib.error.HTTPError) -> SourceError:
    """What a status means: worth another try, with the seconds that the server asks for, or not."""
    sentence = f"{shown}: {refused(error.code)}"
    if error.code not in TRANSIENT:
        return RefusedError(sentence, error.code)
    stated = error.headers.get("Retry-After") or ""
    return TransientError(sentence, float(stated) if stated.isdecimal() and len(stated) < 6 else None)  # noqa: PLR2004


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


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.InvalidURL):
        return "the address is not valid"  # its own words hold the address, and that may hold a signature
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__.strip("_").lower()
