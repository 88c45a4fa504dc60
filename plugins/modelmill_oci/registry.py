"""One repository of a registry, in the verbs of the OCI distribution specification 1.1."""

import hashlib
import http.client
import json
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self

from modelmill import RemoteError
from modelmill_oci.access import Access
from modelmill_oci.media import EMPTY_INDEX, INDEX, MANIFEST_TYPES
from modelmill_oci.reference import Reference
from modelmill_oci.retry import retrying
from modelmill_oci.transport import Request, Transport, describe

MANIFEST_BYTES = 4 * 1024 * 1024
"""The largest manifest that a registry must take ("Pushing manifests")."""


class Registry:
    """A repository to read from and to write to."""

    def __init__(self, reference: Reference, access: Access) -> None:
        self.reference = reference
        self.access = access
        self.transport = Transport(reference.host, access)
        self.path = f"/v2/{reference.repository}"
        self.pull_scope = f"repository:{reference.repository}:pull"
        self.push_scope = f"repository:{reference.repository}:pull,push"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.close()

    def has_blob(self, digest: str, *, pushing: bool = False) -> bool:
        """Whether the repository holds the blob."""
        scope = self.push_scope if pushing else self.pull_scope
        status, _, _ = self.call(Request(method="HEAD", target=f"{self.path}/blobs/{digest}", scope=scope), (200, 404))
        return status == HTTPStatus.OK

    def mount(self, digest: str, repository: str) -> bool:
        """Take a blob over from another repository of the registry; False where the registry does not."""
        query = urllib.parse.urlencode({"mount": digest, "from": repository})
        scope = f"{self.push_scope} repository:{repository}:pull"
        request = Request(method="POST", target=f"{self.path}/blobs/uploads/?{query}", scope=scope)
        try:
            status, headers, _ = self.call(request, (201, 202))
        except RemoteError:
            return False
        if status == HTTPStatus.ACCEPTED and (location := headers.get("Location")):
            # The registry opened an upload instead; it is not needed here.
            self.call(Request(method="DELETE", target=location, scope=self.push_scope), None)
        return status == HTTPStatus.CREATED

    def digest_of(self, tag: str) -> str | None:
        """The digest that a tag stands for, None where there is no such tag."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        request = Request(method="HEAD", target=self._manifest(tag), scope=self.pull_scope, headers=headers)
        status, answer, _ = self.call(request, (200, 404))
        if status != HTTPStatus.OK:
            return None
        if digest := answer.get("Docker-Content-Digest"):
            return str(digest)
        found = self.manifest(tag)
        return found[0] if found else None

    def manifest(self, reference: str) -> tuple[str, bytes] | None:
        """The digest and the bytes behind a tag or a digest, None where there is none.

        Raises RemoteError for bytes that are not those that the digest names.
        """
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        request = Request(method="GET", target=self._manifest(reference), scope=self.pull_scope, headers=headers)
        status, answer, body = self.call(request, (200, 404))
        if status != HTTPStatus.OK:
            return None
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        promised = reference if ":" in reference else answer.get("Docker-Content-Digest", digest)
        if digest != promised:
            raise RemoteError(f"{self.reference.name} serves a manifest with digest {digest} as {promised}; refused")
        return digest, body

    def put_manifest(self, body: bytes, media_type: str, tag: str | None = None) -> tuple[str, bool]:
        """Store a manifest, and let a tag stand for it; its digest, and whether the registry lists referrers."""
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if len(body) > MANIFEST_BYTES:
            raise RemoteError(f"a manifest of {len(body)} bytes is larger than a registry need take; use fewer files")
        request = Request(
            method="PUT",
            target=self._manifest(tag or digest),
            scope=self.push_scope,
            headers={"Content-Type": media_type},
            body=body,
        )
        _, answer, _ = self.call(request, (201,))
        stored = answer.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise RemoteError(f"{self.reference.name} stored a manifest as {stored} that was sent as {digest}; refused")
        return digest, "OCI-Subject" in answer

    def referrers(self, digest: str) -> tuple[Mapping[str, Any], ...]:
        """The descriptors of what refers to a manifest: the referrers API, else the tag that stands in for it."""
        headers = {"Accept": INDEX}
        request = Request(
            method="GET", target=f"{self.path}/referrers/{digest}", scope=self.pull_scope, headers=headers
        )
        status, _, body = self.call(request, (200, 400, 404))
        found = body if status == HTTPStatus.OK else None
        if found is None:
            tagged = self.manifest(fallback_tag(digest))
            found = tagged[1] if tagged else EMPTY_INDEX
        try:
            return tuple(json.loads(found)["manifests"])
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError(f"{self.reference.name}: the referrers of {digest} are no index") from error

    def call(self, request: Request, wanted: tuple[int, ...] | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and (short) body of an answer, retried; RemoteError for a status that is not wanted."""
        return retrying(self.access, lambda: self._call(request, wanted))

    def _call(self, request: Request, wanted: tuple[int, ...] | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        with self.transport.exchange(request) as response:
            if wanted is not None and response.status not in wanted:
                raise self.failure(response)
            body = response.read(MANIFEST_BYTES + 1)
            if len(body) > MANIFEST_BYTES:
                raise RemoteError(
                    f"{self.reference.name} answers with more than the {MANIFEST_BYTES} bytes of a manifest"
                )
            return response.status, response.headers, body

    def failure(self, response: http.client.HTTPResponse) -> RemoteError:
        """The sentence for a status that nothing can be done with."""
        status, words = response.status, describe(response)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return RemoteError(
                f"{self.reference.host} refuses access to {self.reference.repository}: {words}; "
                "check the user name, the password and the right to it"
            )
        if status == HTTPStatus.NOT_FOUND:
            return RemoteError(f"{self.reference.name}: not found: {words}")
        return RemoteError(f"{self.reference.name}: the registry answered {words}")

    def _manifest(self, reference: str) -> str:
        return f"{self.path}/manifests/{reference}"


def fallback_tag(digest: str) -> str:
    """The tag that lists a manifest's referrers where the registry does not ("Referrers Tag Schema")."""
    return digest.replace(":", "-")
