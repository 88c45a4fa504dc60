"""The public keys that a verifier trusts: ECDSA on P-256, the one kind that every verifier of these bundles takes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelmill_artifacts.errors import ArtifactError, InputError

DEVELOPMENT_NOTE = b"modelmill development key: made on first use, proves nothing about who signed\n"
"""The line above the PEM block (RFC 7468 section 2 allows one) by which a development key is known."""

DEVELOPMENT_PREFIX = "development-key:"
"""What the hint of a bundle begins with where a development key signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key in the one PEM form, SubjectPublicKeyInfo; `name` says to a person where it came from."""

    pem: bytes
    name: str
    development: bool = False

    @property
    def fingerprint(self) -> str:
        """The sha256 of the PEM form, as OpenSSF Model Signing identifies keys."""
        return hashlib.sha256(self.pem).hexdigest()

    @property
    def hint(self) -> str:
        """What a bundle that this key signed says about it."""
        return (DEVELOPMENT_PREFIX if self.development else "") + self.fingerprint


def load(data: bytes, name: str) -> PublicKey:
    """A public key from PEM. Raises InputError for anything else, and for another kind of key than P-256."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in data:
        raise InputError(f"{name} is a private key; give the public key that `modelmill keys show` prints")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"{name}: not a public key in PEM form; give the file .pub that `modelmill keys new` wrote, or what "
            "`modelmill keys show` prints"
        ) from error
    return PublicKey(pem=encode(key, name), name=name, development=DEVELOPMENT_NOTE in data)


def read(path: Path) -> PublicKey:
    """The public key in a PEM file. Raises InputError as `load` does, and for a file that cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the public key {path}: {error.strerror}") from error
    return load(data, str(path))


def encode(key: object, name: str) -> bytes:
    """The one PEM form of a key object of `cryptography`. Raises InputError unless it is ECDSA on P-256."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if not isinstance(key, EllipticCurvePublicKey):
        raise InputError(f"{name}: a key of kind {type(key).__name__}; signatures need ECDSA on P-256")
    if not isinstance(key.curve, SECP256R1):
        raise InputError(f"{name}: a key on the curve {key.curve.name}; signatures need P-256 (prime256v1)")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def named(hint: str, keys: Iterable[PublicKey], where: str) -> PublicKey:
    """The key that a bundle's hint names. Raises ArtifactError where none of these is it."""
    keys = tuple(keys)
    for key in keys:
        if key.hint == hint:
            return key
    for key in keys:
        if hint == DEVELOPMENT_PREFIX + key.fingerprint:
            raise ArtifactError(
                f"{where}: signed by a development key, {key.name}, which proves nothing about who signed; add "
                "--development-keys (in a policy development_keys = true) to accept it all the same"
            )
    have = ", ".join(key.hint for key in keys) or "none"
    if hint.startswith(DEVELOPMENT_PREFIX):
        raise ArtifactError(f"{where}: signed by a development key, {hint!r}, which is not among the trusted: {have}")
    raise ArtifactError(f"{where}: signed by the key {hint!r}, which is not among the trusted: {have}")
