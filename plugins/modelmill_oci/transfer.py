"""Many blobs and manifests into a repository: what is there stays, the rest goes in parallel."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from modelmill import RemoteError
from modelmill_oci.content import Blob
from modelmill_oci.image import Image
from modelmill_oci.media import MANIFEST
from modelmill_oci.registry import Registry
from modelmill_oci.upload import upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The bytes of blobs that were sent, and of those that were there already."""

    moved: int = 0
    skipped: int = 0

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(moved=self.moved + other.moved, skipped=self.skipped + other.skipped)


def push_blobs(registry: Registry, blobs: Iterable[Blob]) -> Moved:
    """Bring blobs into a repository, the largest first; each digest once. Raises the first failure."""
    unique = {blob.digest: blob for blob in blobs}
    order = sorted(unique.values(), key=lambda blob: (-blob.size, blob.digest))
    with ThreadPoolExecutor(max(1, registry.access.parallel)) as pool:
        results = [pool.submit(upload, registry, blob, registry.access.mount_from) for blob in order]
        try:
            sent = [result.result() for result in results]
        except BaseException:
            for result in results:
                result.cancel()
            raise
    total = sum(blob.size for blob in order)
    return Moved(moved=sum(sent), skipped=total - sum(sent))


def push_image(registry: Registry, image: Image) -> Moved:
    """Bring a manifest and its blobs into a repository, under its digest."""
    found = push_blobs(registry, image.blobs)
    if registry.digest_of(image.digest) != image.digest:
        registry.put_manifest(image.manifest, MANIFEST)
    return found


def claim_tag(registry: Registry, tag: str, body: bytes, media_type: str, digest: str) -> None:
    """Let a tag stand for a manifest for good. Raises RemoteError where it stands for another one."""
    check_tag(registry, tag, digest)
    if registry.digest_of(tag) is None:
        registry.put_manifest(body, media_type, tag)


def check_tag(registry: Registry, tag: str, digest: str) -> None:
    """Refuse to let a tag stand for other content than it does."""
    found = registry.digest_of(tag)
    if found is not None and found != digest:
        raise RemoteError(
            f"{registry.reference.name}:{tag} is published already with other content ({found}, this is {digest}); "
            "a version never changes, raise it"
        )
