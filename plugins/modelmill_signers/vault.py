"""A P-256 key in HashiCorp Vault's transit secrets engine, over its HTTP API.

securesystemslib's own signer for Vault makes Ed25519 signatures, which these bundles cannot hold. Source: Vault's API
documentation of the transit engine, "Read key" and "Sign data". The environment is Vault's own: VAULT_ADDR,
VAULT_TOKEN, VAULT_CACERT for an authority of one's own, VAULT_NAMESPACE. The nonces are Vault's.
"""

import base64
import binascii
import hashlib
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from modelmill import SignError
from modelmill_artifacts import keys
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.keys import PublicKey

_KIND = "ecdsa-p256"
_TIMEOUT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSigner:
    """The newest version of a key, as it was when it was opened."""

    public_key: PublicKey
    key: str
    version: int

    def sign(self, data: bytes) -> bytes:
        """The ECDSA signature in DER form, over the SHA-256 of these bytes. Raises SignError where it fails."""
        name = self.public_key.name
        asked = {
            "input": base64.b64encode(hashlib.sha256(data).digest()).decode(),
            "prehashed": True,
            "marshaling_algorithm": "asn1",
            "key_version": self.version,
        }
        try:
            _, _, signature = _ask(name, f"sign/{self.key}/sha2-256", asked)["signature"].split(":")
            return base64.b64decode(signature, validate=True)
        except (KeyError, AttributeError, ValueError, binascii.Error) as error:
            raise SignError(f"{name}: Vault's answer holds no signature") from error


def open_key(key: str) -> VaultSigner:
    """The signer of `vault:KEY`. Raises SignError where Vault refuses, and for a key of another kind than P-256."""
    name, quoted = f"vault:{key}", urllib.parse.quote(key, safe="")
    found = _ask(name, f"keys/{quoted}")
    try:
        kind, version = found["type"], int(found["latest_version"])
        if kind != _KIND:
            raise SignError(f"{name}: a key of type {kind}; signatures need {_KIND}")
        public = keys.load(found["keys"][str(version)]["public_key"].encode(), name)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SignError(f"{name}: Vault's answer holds no public key") from error
    except ArtifactError as error:
        raise SignError(str(error)) from error
    return VaultSigner(public_key=public, key=quoted, version=version)


def _ask(name: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What Vault answers under `data`. Raises SignError in one sentence."""
    for variable in ("VAULT_ADDR", "VAULT_TOKEN"):
        if not os.environ.get(variable):
            raise SignError(f"{name}: the environment variable {variable} is not set")
    address = os.environ["VAULT_ADDR"].rstrip("/")
    if not address.startswith(("https://", "http://")):
        raise SignError(f"{name}: VAULT_ADDR is {address!r}, not an http or https URL")
    headers = {"X-Vault-Token": os.environ["VAULT_TOKEN"], "X-Vault-Request": "true"}
    if namespace := os.environ.get("VAULT_NAMESPACE"):
        headers["X-Vault-Namespace"] = namespace
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(f"{address}/v1/transit/{path}", data, headers)  # noqa: S310 - checked above
        context = ssl.create_default_context(cafile=os.environ.get("VAULT_CACERT"))
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as answer:  # noqa: S310
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        error.close()
        raise SignError(f"{name}: Vault answers {error.code} {error.reason} to transit/{path}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SignError(f"{name}: cannot ask Vault at {address}: {error}") from error
