"""One tar that every engine loads: an OCI layout and, over the same blobs, Docker's older manifest.json.

Docker before 25 without the containerd store reads manifest.json and nothing else; containerd, podman and newer
Docker read the layout and keep the manifest's digest. moby/moby: image/spec/v1.2.md; image specification 1.1.
"""

from collections.abc import Iterator
from pathlib import Path

from modelmill import ConvertError
from modelmill_artifacts import canonical
from modelmill_oci import image, tarlayer
from modelmill_oci.content import Blob, Content, Piece, of_bytes
from modelmill_oci.image import Image
from modelmill_oci.media import IMAGE_NAME, REF_NAME

NAME = "image.tar"


def write(path: Path, found: Image, name: str, tag: str) -> None:
    """Write the archive of one image under `name:tag`. Raises ConvertError for a disk that cannot hold it."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            for block in content(found, name, tag).blocks():
                file.write(block)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConvertError(f"{path} cannot be written: {error.strerror}; make room there") from error


def content(found: Image, name: str, tag: str) -> Content:
    """The archive's bytes, the weights still where they are. The same image gives the same bytes."""
    members = dict(_members(found, name, tag))
    pieces = tarlayer.folders(members)
    for path in sorted(members):
        header, _, *padding = tarlayer.member(path, Piece(size=members[path].size))
        pieces += [header, *members[path].content.pieces, *padding]
    return Content(pieces=(*pieces, tarlayer.END))


def _members(found: Image, name: str, tag: str) -> Iterator[tuple[str, Blob]]:
    config, *layers = found.blobs
    notes = {REF_NAME: tag, IMAGE_NAME: f"docker.io/library/{name}:{tag}" if "/" not in name else f"{name}:{tag}"}
    yield "oci-layout", of_bytes(canonical.dumps({"imageLayoutVersion": "1.0.0"}))
    yield "index.json", of_bytes(image.index([found.descriptor(notes)]))
    older = {"Config": _place(config), "Layers": [_place(layer) for layer in layers], "RepoTags": [f"{name}:{tag}"]}
    yield "manifest.json", of_bytes(canonical.dumps([older]))
    for blob in (*found.blobs, of_bytes(found.manifest)):
        yield _place(blob), blob


def _place(blob: Blob) -> str:
    return f"blobs/sha256/{blob.digest.removeprefix('sha256:')}"
