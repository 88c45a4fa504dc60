"""One HTTP exchange with a registry or with what it points at: connections, authorisation, redirects, errors."""

import http.client
import json
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from modelmill import RemoteError
from modelmill_oci import bearer, credentials
from modelmill_oci.access import Access, is_loopback, tls_context
from modelmill_oci.content import Content, shrunk
from modelmill_oci.retry import TransientError

_REDIRECTS = 5
_ERROR_BYTES = 64 * 1024
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; `target` is a path of the registry or an absolute URL, `scope` what a token must allow."""

    method: str
    target: str
    scope: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Content = b""


class Transport:
    """The connections to one registry: one for each thread and host, kept open between requests."""

    def __init__(self, host: str, access: Access) -> None:
        self.host = "registry-1.docker.io" if host == "docker.io" else host
        self.access = access
        self._tls = tls_context(access)
        self._local = threading.local()
        self._credentials = credentials.find(host, access)
        self._authorisation: dict[str, str] = {}
        self._lock = threading.Lock()
        self._open_connections: set[http.client.HTTPConnection] = set()
        self._base = f"{self._scheme()}://{self.host}"

    def close(self) -> None:
        """Close every connection, also those of other threads, which must be done with them."""
        with self._lock:
            for connection in self._open_connections:
                connection.close()
            self._open_connections.clear()
        self._local = threading.local()

    @contextmanager
    def exchange(self, request: Request) -> Iterator[http.client.HTTPResponse]:
        """Send and yield the answer, its body unread; the body must be read to its end or is thrown away.

        Answers 401 once with credentials, follows redirects (never with the registry's credentials to another
        host, never from https to http). Raises TransientError for a cut connection, 408, 429 and 5xx, and
        RemoteError where no connection can be had. Any other status is the caller's to judge.
        """
        with self._open(request, self._authorised(request)) as response:
            yield response

    @contextmanager
    def exchange_plain(self, request: Request) -> Iterator[http.client.HTTPResponse]:
        """As `exchange`, without an answer to 401 and with every status the caller's to judge."""
        with self._open(request, self._followed(request)) as response:
            yield response

    @contextmanager
    def _open(self, request: Request, response: http.client.HTTPResponse) -> Iterator[http.client.HTTPResponse]:
        try:
            try:
                yield response
            except (OSError, http.client.HTTPException) as error:
                raise TransientError(f"{self.host}: the connection broke during {request.method}: {error}") from error
        finally:
            if not response.isclosed():
                self._drop()

    def url(self, target: str) -> str:
        """An absolute URL for a path of the registry; an absolute URL as it is."""
        return urllib.parse.urljoin(self._base, target)

    def _authorised(self, request: Request) -> http.client.HTTPResponse:
        response = self._followed(request)
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            challenges = response.headers.get_all("WWW-Authenticate") or []
            self._finish(response)
            self._authorise(request.scope, challenges)
            response = self._followed(request)
        if response.status in _TRANSIENT:
            sentence = f"{self.host} answered {request.method} with {describe(response)}"
            after = _retry_after(response.headers.get("Retry-After"))
            self._finish(response)
            raise TransientError(sentence, after)
        return response

    def _followed(self, request: Request) -> http.client.HTTPResponse:
        url = self.url(request.target)
        for _ in range(_REDIRECTS):
            response = self._once(request, url)
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            self._finish(response)
            target = urllib.parse.urljoin(url, location)
            if url.startswith("https:") and not target.startswith("https:"):
                raise RemoteError(f"{self.host} redirects from https to {target.partition('?')[0]}; refused")
            url = target
        raise RemoteError(f"{self.host} redirects more than {_REDIRECTS} times")

    def _once(self, request: Request, url: str) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        headers = {"User-Agent": "modelmill", "Accept-Encoding": "identity", **request.headers}
        if parts.netloc == self.host and (value := self._authorisation.get(request.scope)):
            headers["Authorization"] = value
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts)
        try:
            return _send(connection, request.method, target, headers, request.body)
        except RemoteError:
            self._drop()
            raise
        except ssl.SSLCertVerificationError as error:
            self._drop()
            raise RemoteError(
                f"{parts.netloc}: its certificate is not trusted ({error.verify_message}); ca_file names its authority"
            ) from error
        except ssl.SSLError as error:
            self._drop()
            if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
                raise RemoteError(
                    f"{parts.netloc} does not speak TLS; plain_http allows that where it is meant"
                ) from error
            raise TransientError(f"{parts.netloc}: TLS failed: {error.reason or error}") from error
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise TransientError(f"{parts.netloc}: {request.method} failed: {error or type(error).__name__}") from error

    def _connection(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        known: dict[str, http.client.HTTPConnection] = self._local.__dict__.setdefault("known", {})
        key = f"{parts.scheme}://{parts.netloc}"
        if key not in known:
            known[key] = self._connect(parts)
            with self._lock:
                self._open_connections.add(known[key])
        return known[key]

    def _connect(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        if parts.scheme == "http":
            if not (self.access.plain_http or is_loopback(parts.netloc)):
                raise RemoteError(f"{parts.netloc} is reached without TLS; plain_http allows that where it is meant")
            return http.client.HTTPConnection(parts.netloc, timeout=self.access.timeout)
        host = parts.netloc
        proxy = None if is_loopback(host) or urllib.request.proxy_bypass(parts.hostname or "") else _proxy()
        connection = http.client.HTTPSConnection(proxy or host, timeout=self.access.timeout, context=self._tls)
        if proxy:
            connection.set_tunnel(parts.hostname or "", parts.port or 443)
        return connection

    def _authorise(self, scope: str, challenges: list[str]) -> None:
        self._authorisation[scope] = bearer.authorisation(self, scope, challenges, self._credentials)

    def _scheme(self) -> str:
        plain = self.access.plain_http or (is_loopback(self.host) and not self.access.ca_file)
        return "http" if plain else "https"

    def _finish(self, response: http.client.HTTPResponse) -> None:
        """Read a short body to its end, so that the connection serves again; give up on a long one."""
        try:
            response.read(_ERROR_BYTES)
        except (OSError, http.client.HTTPException):
            self._drop()
        if not response.isclosed():
            self._drop()

    def _drop(self) -> None:
        for connection in self._local.__dict__.pop("known", {}).values():
            connection.close()
            with self._lock:
                self._open_connections.discard(connection)


def describe(response: http.client.HTTPResponse) -> str:
    """The status of an answer and the registry's own words for it (distribution specification, "Error codes")."""
    text = f"{response.status} {response.reason}"
    try:
        errors = json.loads(response.read(_ERROR_BYTES))["errors"]
        words = [f"{item['code']}: {item.get('message', '')}".rstrip(": ") for item in errors]
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return text
    return f"{text} ({'; '.join(words)})" if words else text


def _send(
    connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str], body: bytes | Content
) -> http.client.HTTPResponse:
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    size = body.size if isinstance(body, Content) else len(body)
    if size or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(size))
    connection.endheaders()
    try:
        _send_body(connection, body)
    except (BrokenPipeError, ConnectionResetError):
        # A registry that refuses in the middle of a body may have said why before it hung up.
        try:
            return connection.getresponse()
        except (OSError, http.client.HTTPException):
            pass
        raise
    return connection.getresponse()


def _send_body(connection: http.client.HTTPConnection, body: bytes | Content) -> None:
    if isinstance(body, bytes):
        if body:
            connection.send(body)
        return
    if isinstance(connection.sock, ssl.SSLSocket):
        for block in body.blocks():
            connection.sock.sendall(block)
        return
    for piece in body.pieces:
        if piece.path is None:
            connection.sock.sendall(piece.data)
        elif piece.size:
            # The kernel copies from file to socket; without TLS no byte of a weight enters this process.
            with piece.path.open("rb", buffering=0) as file:
                if connection.sock.sendfile(file, piece.offset, piece.size) != piece.size:
                    raise shrunk(piece.path)


def _proxy() -> str | None:
    """The `HOST:PORT` of the environment's https proxy."""
    value = urllib.request.getproxies().get("https")
    return urllib.parse.urlsplit(value if "//" in value else f"//{value}").netloc.rpartition("@")[2] if value else None


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header in either of its forms (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    import datetime as dt

    return max(0.0, (when - dt.datetime.now(dt.UTC)).total_seconds())
