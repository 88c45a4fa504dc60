"""Keys that never leave a token or a key service, reached through securesystemslib.

Their nonces are the device's own: two signatures over the same bytes differ.
"""

import importlib
import os
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelmill import SignError
from modelmill_artifacts import keys
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.keys import PublicKey

PIN = "MODELMILL_PIN"
"""The environment variable that holds a token's PIN."""
MODULE = "PYKCS11LIB"
"""The environment variable, securesystemslib's own, that names the PKCS#11 module."""

_EXTRAS = {"hsm": "pkcs11", "awskms": "kms", "gcpkms": "kms", "azurekms": "kms"}
_KINDS = {"hsm": "HSMSigner", "awskms": "AWSSigner", "gcpkms": "GCPSigner", "azurekms": "AzureSigner"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSigner:
    """A key held elsewhere; `signer` is securesystemslib's."""

    public_key: PublicKey
    signer: Any

    def sign(self, data: bytes) -> bytes:
        """The ECDSA signature in DER form, over the SHA-256 of these bytes. Raises SignError where it fails."""
        found = _call(self.public_key.name, lambda: self.signer.sign(data))
        return bytes.fromhex(found.signature)


def open_token(key: str) -> ServiceSigner:
    """The signer of `hsm:[ID][?label=TOKEN]`: a key on a PKCS#11 token, by default the one with the id 2.

    The module is named by PYKCS11LIB, the PIN by MODELMILL_PIN. Raises SignError where either is missing.
    """
    name = f"hsm:{key}"
    for variable, what in ((MODULE, "the path of the PKCS#11 module"), (PIN, "the token's PIN")):
        if not os.environ.get(variable):
            raise SignError(f"{name}: the environment variable {variable}, which should hold {what}, is not set")
    identifier, _, query = key.partition("?")
    label = dict(urllib.parse.parse_qsl(query)).get("label")
    if identifier and not identifier.isdecimal():
        raise SignError(f"{name}: {identifier!r} is not a key's number; write hsm:ID?label=TOKEN")
    kind = _kind("hsm")

    def opened() -> Any:
        uri, public = kind.import_(int(identifier) if identifier else None, label, _pin)
        return kind.from_priv_key_uri(uri, public, _pin)

    return _signer(name, opened)


def open_service(scheme: str, key: str) -> ServiceSigner:
    """The signer of a key service: `awskms:ID`, `gcpkms:RESOURCE` or `azurekms:VAULT/KEY`.

    Credentials are the service's own client's business. Raises SignError where the service refuses.
    """
    name = f"{scheme}:{key}"
    kind = _kind(scheme)
    parts = key.split("/") if scheme == "azurekms" else [key]
    if scheme == "azurekms" and len(parts) != 2:  # noqa: PLR2004
        raise SignError(f"{name}: write azurekms:VAULT/KEY")

    def opened() -> Any:
        uri, public = kind.import_(*parts)
        return kind.from_priv_key_uri(uri, public)

    return _signer(name, opened)


def _signer(name: str, opened: Callable[[], Any]) -> ServiceSigner:
    signer = _call(name, opened)
    try:
        public = keys.load(signer.public_key.keyval["public"].encode(), name)
    except ArtifactError as error:
        raise SignError(str(error)) from error
    return ServiceSigner(public_key=public, signer=signer)


def _kind(scheme: str) -> Any:
    """securesystemslib's class for a scheme; Vault is left out because it signs with Ed25519 only."""
    try:
        offered: Any = importlib.import_module("securesystemslib.signer")
    except ImportError as error:
        raise SignError(
            f"{scheme}: keys need securesystemslib; pip install 'modelmill[{_EXTRAS[scheme]}]' brings it"
        ) from error
    return getattr(offered, _KINDS[scheme])


def _pin(_: str) -> str:
    return os.environ[PIN]


def _call(name: str, work: Callable[[], Any]) -> Any:
    """Whatever a client library raises, as one sentence: each service has a tree of errors of its own."""
    exceptions: Any = importlib.import_module("securesystemslib.exceptions")
    try:
        return work()
    except exceptions.UnsupportedLibraryError as error:
        extra = _EXTRAS[name.partition(":")[0]]
        raise SignError(f"{name}: {error}; pip install 'modelmill[{extra}]' brings what is missing") from error
    except Exception as error:
        raise SignError(f"{name}: {str(error) or type(error).__name__}") from error
