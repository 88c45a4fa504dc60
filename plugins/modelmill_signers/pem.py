"""Private keys in PEM form, from a file or an environment variable, and their deterministic signatures."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill import SignError
from modelmill_artifacts import keys
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.keys import PublicKey

PASSWORD = "MODELMILL_KEY_PASSWORD"  # noqa: S105
"""The environment variable that holds the password of an encrypted key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PemSigner:
    """A private key in memory. Its nonces are those of RFC 6979, so that the same bytes get the same signature."""

    public_key: PublicKey
    private: Any

    def sign(self, data: bytes) -> bytes:
        """The ECDSA signature in DER form, over the SHA-256 of these bytes."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        signature: bytes = self.private.sign(data, ECDSA(SHA256(), deterministic_signing=True))
        return signature


def open_file(path: Path) -> PemSigner:
    """The signer of a key file. Raises SignError for a file that others may read or that holds no such key."""
    try:
        data, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise SignError(
            f"cannot read the key {path}: {error.strerror}; `modelmill keys new {path}` makes one"
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise SignError(f"the key {path} can be read by others (mode {mode & 0o777:o}); `chmod 600 {path}` closes it")
    return load(data, str(path))


def open_variable(name: str) -> PemSigner:
    """The signer of the PEM text in an environment variable. Raises SignError where there is none."""
    data = os.environ.get(name)
    if not data:
        raise SignError(f"the environment variable {name}, which should hold the signing key in PEM form, is not set")
    return load(data.encode(), f"env:{name}")


def load(data: bytes, name: str) -> PemSigner:
    """The signer of a private key in PEM form; an encrypted one takes its password from MODELMILL_KEY_PASSWORD.

    Raises SignError for anything else, a wrong password, and another kind of key than P-256.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    encrypted = b"ENCRYPTED" in data
    password = os.environ.get(PASSWORD, "").encode() if encrypted else None
    if encrypted and not password:
        raise SignError(f"{name} is encrypted; set {PASSWORD} to its password")
    try:
        private = load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = f"the password in {PASSWORD} does not open it" if encrypted else "not a private key in PEM form"
        raise SignError(f"{name}: {reason}") from error
    try:
        pem = keys.encode(private.public_key(), name)
    except ArtifactError as error:
        raise SignError(str(error)) from error
    development = keys.DEVELOPMENT_NOTE in data
    return PemSigner(public_key=PublicKey(pem=pem, name=name, development=development), private=private)
