"""New key pairs in files: the private key for its owner only, the public key beside it."""

import os
from pathlib import Path

from modelmill import SignError
from modelmill_artifacts import keys
from modelmill_artifacts.keys import PublicKey


def new(path: Path, password: str | None = None, note: bytes = b"") -> PublicKey:
    """Write a new P-256 key to `path` (PKCS#8, mode 600) and its public key to `path` with the suffix `.pub`.

    A password encrypts the private key. `note` is a line that goes before each PEM block. Raises SignError
    rather than replace a file.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
    )

    private = ec.generate_private_key(ec.SECP256R1())
    hidden: KeySerializationEncryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    public_path = public_of(path)
    pem = keys.encode(private.public_key(), str(public_path))
    for there in (path, public_path):
        if there.exists():
            raise SignError(f"{there} is there already; a key is never replaced, give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, note + private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden), 0o600)
    _write(public_path, note + pem, 0o644)
    return PublicKey(pem=pem, name=str(public_path), development=note == keys.DEVELOPMENT_NOTE)


def public_of(path: Path) -> Path:
    """Where the public key of a private key's file lies."""
    return path.with_suffix(".pub")


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise SignError(f"cannot write the key {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
