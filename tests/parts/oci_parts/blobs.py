"""What tests ask of blobs."""

from pathlib import Path

from modelmill_oci.content import Blob


def path_of(blob: Blob) -> Path:
    """The file that a blob of one whole file is."""
    (piece,) = blob.content.pieces
    assert piece.path is not None
    return piece.path
