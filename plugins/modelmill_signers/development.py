"""The development key: made on first use, so that a first build is signed, and trusted by nobody who did not ask."""

import os
from pathlib import Path

from modelmill import SignError
from modelmill_artifacts import keys
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.keys import PublicKey
from modelmill_signers import create, pem
from modelmill_signers.pem import PemSigner


def path() -> Path:
    """Where this user's development key lies: `$XDG_DATA_HOME/modelmill`, else `~/.local/share/modelmill`."""
    root = os.environ.get("XDG_DATA_HOME")
    return (Path(root) if root else Path.home() / ".local" / "share") / "modelmill" / "development.pem"


def open_key() -> PemSigner:
    """The signer of the development key, which is made where there is none."""
    place = path()
    if not place.exists():
        try:
            create.new(place, note=keys.DEVELOPMENT_NOTE)
        except SignError:
            if not place.exists():  # else another build has just made it
                raise
    signer = pem.open_file(place)
    if not signer.public_key.development:
        raise SignError(f"{place} is not a development key; move it elsewhere and name it in [sign] key")
    return signer


def public_key() -> PublicKey:
    """The public development key. Raises SignError where there is none yet."""
    place = create.public_of(path())
    if not place.exists():
        raise SignError(f"there is no development key at {place} yet; the first build without [sign] makes one")
    try:
        return keys.read(place)
    except ArtifactError as error:
        raise SignError(str(error)) from error
