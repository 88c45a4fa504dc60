"""What the text of an image reference says: registry, repository, tag and digest."""

import re
from dataclasses import dataclass, replace

from modelmill import RemoteError, RequestError

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_DOCKER_HUB = "docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One reference; `tag` and `digest` are None where the text has none."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.host}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' + self.digest if self.digest else ''}"


def parse(text: str) -> Reference:
    """A reference from `[oci://]HOST/REPOSITORY[:TAG][@DIGEST]`.

    Grammar: OCI distribution specification 1.1, "Pulling manifests"; a first part without a dot, a colon and
    other than `localhost` is a repository on Docker Hub, as in Docker. Raises RequestError.
    """
    rest, _, digest = text.removeprefix("oci://").partition("@")
    first, slash, others = rest.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        host, path = first, others
    else:
        host, path = _DOCKER_HUB, rest
    path, _, tag = path.partition(":")
    if host == _DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not _HOST.fullmatch(host) or not _REPOSITORY.fullmatch(path):
        raise RequestError(
            f"{text!r} is no image reference; it reads HOST/REPOSITORY:TAG, the repository in lower case"
        )
    if tag and not _TAG.fullmatch(tag):
        raise RequestError(f"{text!r}: {tag!r} is no tag; letters, digits, '.', '_' and '-', 128 at most")
    if digest and not _DIGEST.fullmatch(digest):
        raise RequestError(f"{text!r}: {digest!r} is no digest; it reads sha256: and 64 hexadecimal digits")
    return Reference(host=host, repository=path, tag=tag or None, digest=digest or None)


def tagged(reference: Reference, tag: str) -> Reference:
    """The same repository under another tag, without a digest. Raises RequestError for what is no tag."""
    if not _TAG.fullmatch(tag):
        raise RequestError(f"{tag!r} is no tag of {reference.name}; letters, digits, '.', '_' and '-', 128 at most")
    return replace(reference, tag=tag, digest=None)


def check_digest(digest: str) -> None:
    """Refuse a digest that is not sha256. Raises RemoteError."""
    if not _DIGEST.fullmatch(digest):
        raise RemoteError(f"{digest!r} is no digest; it reads sha256: and 64 hexadecimal digits")
