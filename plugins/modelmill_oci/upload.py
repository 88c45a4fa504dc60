"""How one blob gets into a repository: not at all if it is there, by mount, else streamed and resumed."""

import re
import urllib.parse
from http import HTTPStatus

from modelmill import RemoteError
from modelmill_oci.content import Blob, Content
from modelmill_oci.registry import Registry
from modelmill_oci.retry import TransientError, retrying
from modelmill_oci.transport import Request

_CHUNK = 64 * 1024 * 1024
_SMALL = 4 * 1024 * 1024


class _Session:
    """One upload that the registry knows: where it goes on, and how much has arrived."""

    def __init__(self) -> None:
        self.location: str | None = None
        self.offset = 0
        self.high = 0
        self.failed = False


def upload(registry: Registry, blob: Blob, mount_from: tuple[str, ...] = ()) -> int:
    """Bring a blob into the repository and return how many bytes moved (0: it was there, or was mounted).

    The registry compares the digest with what arrived. A small blob goes in one PUT, a large one in one PATCH, which
    docker-registry takes in half the time of a PUT; after a failure the registry is asked how much it has, and the
    rest goes in chunks ("Pushing a blob monolithically" and "in chunks"). A registry that forgets what a cut chunk
    brought (distribution 2.8 does) gets the blob anew. Raises RemoteError.
    """
    if registry.has_blob(blob.digest, pushing=True):
        return 0
    if any(registry.mount(blob.digest, repository) for repository in mount_from):
        return 0
    session = _Session()
    return retrying(registry.access, lambda: _attempt(registry, blob, session), progress=lambda: session.high)


def _attempt(registry: Registry, blob: Blob, session: _Session) -> int:
    if session.location is not None:
        _resume(registry, session)
    if session.location is None:
        session.location, session.offset = _begin(registry), 0
        if blob.size <= _SMALL:
            _finish(registry, blob, session.location, blob.content)
            return blob.size
    chunk, session.failed = (_CHUNK if session.failed else blob.size), True
    while session.offset < blob.size:
        _patch(registry, session, blob.content, min(chunk, blob.size - session.offset))
    _finish(registry, blob, session.location, b"")
    return blob.size


def _begin(registry: Registry) -> str:
    request = Request(method="POST", target=f"{registry.path}/blobs/uploads/", scope=registry.push_scope)
    with registry.transport.exchange(request) as response:
        if response.status != HTTPStatus.ACCEPTED:
            raise registry.failure(response)
        response.read()
        location = response.headers.get("Location")
    if not location:
        raise RemoteError(f"{registry.reference.name}: the registry opens an upload without saying where")
    return registry.transport.url(location)


def _finish(registry: Registry, blob: Blob, location: str, body: bytes | Content) -> None:
    """PUT the last bytes (or all) with the digest, which makes the blob."""
    mark = "&" if "?" in location else "?"
    target = f"{location}{mark}{urllib.parse.urlencode({'digest': blob.digest})}"
    headers = {"Content-Type": "application/octet-stream"}
    request = Request(method="PUT", target=target, scope=registry.push_scope, headers=headers, body=body)
    with registry.transport.exchange(request) as response:
        if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            response.read()
            raise TransientError(f"{registry.reference.name}: the registry forgot the upload of {blob.digest}")
        if response.status != HTTPStatus.CREATED:
            failure = registry.failure(response)
            if response.status == HTTPStatus.BAD_REQUEST:
                raise RemoteError(f"{failure} (sending {_name(blob)}: is it still what was built?)")
            raise failure
        response.read()
        stored = response.headers.get("Docker-Content-Digest", blob.digest)
    if stored != blob.digest:
        raise RemoteError(f"{registry.reference.name} stored {stored} where {blob.digest} was sent; refused")


def _patch(registry: Registry, session: _Session, whole: Content, size: int) -> None:
    start = session.offset
    headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{start}-{start + size - 1}"}
    body = whole.part(start, size)
    request = Request(
        method="PATCH", target=session.location or "", scope=registry.push_scope, headers=headers, body=body
    )
    with registry.transport.exchange(request) as response:
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            response.read()
            raise TransientError(f"{registry.reference.name}: the registry has another part of the blob than thought")
        if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and size > _CHUNK:
            response.read()
            raise TransientError(f"{registry.reference.name}: {size} bytes are too large for one request", 0)
        if response.status not in (HTTPStatus.ACCEPTED, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT):
            raise registry.failure(response)
        response.read()
        session.location = registry.transport.url(response.headers.get("Location", session.location or ""))
    session.offset = start + size
    session.high = max(session.high, session.offset)


def _resume(registry: Registry, session: _Session) -> None:
    """Ask how much of an upload has arrived; a registry that does not know it any more gets a new one."""
    request = Request(method="GET", target=session.location or "", scope=registry.push_scope)
    with registry.transport.exchange(request) as response:
        response.read()
        arrived = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("Range", ""))
        known = response.status == HTTPStatus.NO_CONTENT and arrived is not None
        if not known or arrived is None or arrived[1] == "0":
            # "0-0" says one byte and, of some registries, none: not worth telling apart.
            session.location, session.offset = None, 0
            return
        session.location = registry.transport.url(response.headers.get("Location", session.location or ""))
        session.offset = int(arrived[1]) + 1
        session.high = max(session.high, session.offset)


def _name(blob: Blob) -> str:
    paths = [str(piece.path) for piece in blob.content.pieces if piece.path is not None]
    return ", ".join(paths) or blob.digest
