"""Signatures over statements: a DSSE envelope in a Sigstore bundle, in one byte form.

The envelope is DSSE v1.0 (secure-systems-lab/dsse, protocol.md), the bundle version 0.3 of sigstore's
protobuf-specs in its JSON form, the key ECDSA on P-256 with SHA-256. cosign, @sigstore/verify, model_signing
and openssl take it as it is.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from modelmill_artifacts import canonical, keys
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.keys import PublicKey

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's group (NIST SP 800-186, 3.2.1.3)."""


class Signer(Protocol):
    """Whoever can sign: a file's key, a token, a key service."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what `sign` gives."""

    def sign(self, data: bytes) -> bytes:
        """The ECDSA signature in DER form, over the SHA-256 of these bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a bundle says, and the trusted key that says so."""

    payload_type: str
    payload: bytes
    key: PublicKey


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature is made over (pre-authentication encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign_statement(payload_type: str, payload: bytes, signer: Signer) -> bytes:
    """The bundle over a payload.

    A signer whose nonces are deterministic gives the same bytes each time. Raises ArtifactError where the
    signer's result does not verify with the signer's own key.
    """
    signature = low_s(signer.sign(pae(payload_type, payload)))
    data = _bundle(payload_type, payload, signature, signer.public_key.hint)
    verify_statement(data, [signer.public_key], "the new signature")
    return data


def verify_statement(data: bytes, trusted: Iterable[PublicKey], where: str) -> Signed:
    """What a bundle says, if a trusted key signed it.

    Raises ArtifactError where it is not exactly such a bundle, names no trusted key, or does not verify.
    """
    payload_type, payload, signature, hint = _fields(data, where)
    if _bundle(payload_type, payload, signature, hint) != data:
        raise ArtifactError(f"{where}: not in canonical form: its bytes are not what writing its content gives")
    key = keys.named(hint, trusted, where)
    _verify(key, signature, pae(payload_type, payload), where)
    return Signed(payload_type=payload_type, payload=payload, key=key)


def statement(data: bytes, trusted: Iterable[PublicKey], where: str) -> tuple[dict[str, Any], PublicKey]:
    """The in-toto statement in a bundle and the trusted key that signed it. Raises ArtifactError as above."""
    signed = verify_statement(data, trusted, where)
    if signed.payload_type != IN_TOTO:
        raise ArtifactError(f"{where}: holds a payload of type {signed.payload_type!r}, not {IN_TOTO!r}")
    value = canonical.loads(signed.payload, f"{where}: payload", canonical.dumps)
    if not isinstance(value, dict):
        raise ArtifactError(f"{where}: payload: not an in-toto statement")
    return value, signed.key


def low_s(signature: bytes) -> bytes:
    """The one of the two equivalent DER forms of an ECDSA signature whose second number is the smaller.

    Without this anyone could turn a valid signature into other bytes that are valid too.
    """
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _ORDER - s))


def _bundle(payload_type: str, payload: bytes, signature: bytes, hint: str) -> bytes:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
    }
    material = {"publicKey": {"hint": hint}, "tlogEntries": []}
    return canonical.dumps({"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope})


def _fields(data: bytes, where: str) -> tuple[str, bytes, bytes, str]:
    value = canonical.loads(data, where, canonical.dumps)
    try:
        envelope = value["dsseEnvelope"]
        payload_type, hint = envelope["payloadType"], value["verificationMaterial"]["publicKey"]["hint"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"{where}: not a Sigstore bundle with a DSSE envelope and a public key") from error
    if not isinstance(payload_type, str) or not isinstance(hint, str):
        raise ArtifactError(f"{where}: not a Sigstore bundle: payloadType and hint must be strings")
    return payload_type, payload, signature, hint


def _verify(key: PublicKey, signature: bytes, data: bytes, where: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    refused = f"{where}: the signature is not one that {key.name} made over this content"
    loaded = load_pem_public_key(key.pem)
    try:
        plain = low_s(signature) == signature
        if plain and isinstance(loaded, EllipticCurvePublicKey):
            loaded.verify(signature, data, ECDSA(SHA256()))
            return
    except (InvalidSignature, ValueError) as error:
        raise ArtifactError(refused) from error
    raise ArtifactError(refused)
