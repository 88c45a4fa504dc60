"""Key services on loopback, each with a real P-256 key behind the protocol that its own client speaks.

Sources: AWS KMS API reference (GetPublicKey, Sign; JSON 1.1); Azure Key Vault REST reference (get key, sign; the
challenge of its authentication) and App Service's managed identity endpoint; google/cloud/kms/v1/service.proto;
HashiCorp Vault's HTTP API of the transit secrets engine (read key, sign data).
"""

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from signers_parts.loopback import Answer, certificate, proxy, serving


@dataclass(frozen=True)
class Held:
    """The key that a service holds. `hashes_again` is a service that takes the digest for the message."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    hashes_again: bool = False

    def public(self, encoding: Encoding) -> bytes:
        return self.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, digest: bytes) -> bytes:
        assert len(digest) == 32
        signed = hashlib.sha256(digest).digest() if self.hashes_again else digest
        return self.private.sign(signed, ec.ECDSA(Prehashed(hashes.SHA256())))


@dataclass(frozen=True)
class Service:
    """A key's URI, and the environment in which its client finds the service."""

    uri: str
    environment: Mapping[str, str]


def _json(value: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextmanager
def aws(held: Held, folder: Path) -> Iterator[Service]:
    """AWS KMS."""
    del folder

    def answers(_: str, __: str, headers: Mapping[str, str], body: bytes) -> Answer:
        asked = json.loads(body)
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDTEST/")
        if asked["KeyId"] != "alias/release":
            return _json({"__type": "NotFoundException", "message": f"Alias {asked['KeyId']} is not found."}, 400)
        if headers["x-amz-target"] == "TrentService.GetPublicKey":
            der = _b64(held.public(Encoding.DER))
            return _json({"KeyId": "k", "PublicKey": der, "SigningAlgorithms": ["ECDSA_SHA_256"]})
        assert headers["x-amz-target"] == "TrentService.Sign"
        assert (asked["MessageType"], asked["SigningAlgorithm"]) == ("DIGEST", "ECDSA_SHA_256")
        return _json({"KeyId": "k", "Signature": _b64(held.sign(base64.b64decode(asked["Message"])))})

    with serving(answers) as port:
        yield Service(
            "awskms:alias/release",
            {
                "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "AKIDTEST",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "eu-central-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )


@contextmanager
def azure(held: Held, folder: Path) -> Iterator[Service]:
    """Azure Key Vault, and the identity endpoint that its client takes a token from."""
    host, version = "release-test.vault.azure.net", "https://release-test.vault.azure.net/keys/signing/1"
    tls = certificate(folder, host)

    def url(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode()

    def token(_: str, __: str, headers: Mapping[str, str], ___: bytes) -> Answer:
        assert headers["x-identity-header"] == "known"
        expires = str(int(time.time()) + 3600)
        return _json({"access_token": "granted", "expires_on": expires, "token_type": "Bearer"})

    def answers(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != "Bearer granted":
            where = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'
            return 401, {"WWW-Authenticate": where}, b""
        if not path.startswith("/keys/signing"):
            return _json({"error": {"code": "KeyNotFound", "message": "A key with this name was not found"}}, 404)
        if method == "GET":
            numbers = held.private.public_key().public_numbers()
            jwk = {"kid": version, "kty": "EC", "crv": "P-256", "key_ops": ["sign", "verify"]}
            return _json({"key": {**jwk, "x": url(numbers.x), "y": url(numbers.y)}, "attributes": {"enabled": True}})
        asked = json.loads(body)
        assert (path.partition("?")[0], asked["alg"]) == ("/keys/signing/1/sign", "ES256")
        digest = base64.urlsafe_b64decode(asked["value"] + "=" * (-len(asked["value"]) % 4))
        r, s = decode_dss_signature(held.sign(digest))
        value = base64.urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32)).rstrip(b"=").decode()
        return _json({"kid": version, "value": value})

    with ExitStack() as stack:
        vault, identity = stack.enter_context(serving(answers, tls)), stack.enter_context(serving(token))
        yield Service(
            "azurekms:release-test/signing",
            {
                "HTTPS_PROXY": stack.enter_context(proxy({host: vault})),
                "NO_PROXY": "127.0.0.1",
                "REQUESTS_CA_BUNDLE": str(tls.authority),
                "IDENTITY_ENDPOINT": f"http://127.0.0.1:{identity}/token",
                "IDENTITY_HEADER": "known",
            },
        )


@contextmanager
def google(held: Held, folder: Path) -> Iterator[Service]:
    """Google Cloud KMS, over gRPC, and a service account's key file."""
    import grpc
    from google.cloud import kms

    host = "cloudkms.googleapis.com"
    name = "projects/p/locations/global/keyRings/r/cryptoKeys/release/cryptoKeyVersions/1"
    tls = certificate(folder, host)

    def checked(context: Any, asked: Any) -> None:
        metadata = dict(context.invocation_metadata())
        if not metadata.get("authorization", "").startswith("Bearer "):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        if asked.name != name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{asked.name} not found.")

    def public_key(asked: Any, context: Any) -> Any:
        checked(context, asked)
        algorithm = kms.CryptoKeyVersion.CryptoKeyVersionAlgorithm.EC_SIGN_P256_SHA256
        pem = held.public(Encoding.PEM)
        return kms.PublicKey(name=name, algorithm=algorithm, pem=pem.decode(), public_key={"data": pem})

    def sign(asked: Any, context: Any) -> Any:
        checked(context, asked)
        return kms.AsymmetricSignResponse(name=name, signature=held.sign(asked.digest.sha256))

    def method(work: Any, request: Any, response: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(work, request.deserialize, response.serialize)

    handlers = {
        "GetPublicKey": method(public_key, kms.GetPublicKeyRequest, kms.PublicKey),
        "AsymmetricSign": method(sign, kms.AsymmetricSignRequest, kms.AsymmetricSignResponse),
    }
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.method_handlers_generic_handler("google.cloud.kms.v1.KeyManagementService", handlers)
    server.add_generic_rpc_handlers((handler,))
    credentials = grpc.ssl_server_credentials([(tls.key.read_bytes(), tls.chain.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    account = folder / "account.json"
    account.write_text(json.dumps(_account()))
    try:
        with proxy({host: port}) as at:
            yield Service(
                f"gcpkms:{name}",
                {
                    "https_proxy": at,
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tls.authority),
                    "GOOGLE_APPLICATION_CREDENTIALS": str(account),
                },
            )
    finally:
        server.stop(None)


def _account() -> dict[str, str]:
    """A service account, whose client makes its own tokens."""
    key = rsa.generate_private_key(65537, 2048)
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": "release@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


@contextmanager
def vault(held: Held, folder: Path) -> Iterator[Service]:
    """HashiCorp Vault's transit engine, behind TLS."""
    tls = certificate(folder, "localhost")

    def answers(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("x-vault-token") != "granted":
            return _json({"errors": ["permission denied"]}, 403)
        if path == "/v1/transit/keys/release" and method == "GET":
            pem = held.public(Encoding.PEM).decode()
            keys = {"1": {"public_key": "an older one"}, "10": {"public_key": pem}, "9": {"public_key": "older too"}}
            return _json({"data": {"type": "ecdsa-p256", "latest_version": 10, "keys": keys}})
        if path == "/v1/transit/keys/other":
            return _json({"data": {"type": "ed25519", "latest_version": 1, "keys": {"1": {"public_key": "AAAA"}}}})
        if path == "/v1/transit/sign/release/sha2-256" and method == "POST":
            asked = json.loads(body)
            assert asked["prehashed"] is True
            assert (asked["marshaling_algorithm"], asked["key_version"]) == ("asn1", 10)
            return _json({"data": {"signature": f"vault:v10:{_b64(held.sign(base64.b64decode(asked['input'])))}"}})
        return _json({"errors": []}, 404)

    with serving(answers, tls) as port:
        address = {"VAULT_ADDR": f"https://localhost:{port}", "VAULT_CACERT": str(tls.authority)}
        yield Service("vault:release", {**address, "VAULT_TOKEN": "granted"})
