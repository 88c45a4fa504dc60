"""A token service as cloud registries have one: Basic in, JWT for the asked scopes out."""

import base64
import contextlib
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import load_pem_x509_certificate


@dataclass(kw_only=True)
class TokenService:
    """The running service; `asked` are the scopes of each request, `lifetime` the tokens' seconds."""

    url: str = ""
    asked: list[list[str]] = field(default_factory=list)
    lifetime: int = 300
    users: dict[str, str] = field(default_factory=dict)

    def auth(self, bundle: Path) -> str:
        """The `auth:` key of a registry that trusts it."""
        return (
            f"auth:\n  token:\n    realm: {self.url}\n    service: test-registry\n    issuer: test-issuer\n"
            f"    rootcertbundle: {bundle}\n"
        )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sign(claims: object, certificate: Path, key: Path) -> str:
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    der = load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
    text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@contextlib.contextmanager
def token_service(certificate: Path, key: Path, users: dict[str, str]) -> Iterator[TokenService]:
    service = TokenService(users=users)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            scopes = query.get("scope", [])
            service.asked.append(scopes)
            text = self.headers.get("Authorization", "").removeprefix("Basic ")
            name, _, password = base64.b64decode(text).decode().partition(":")
            if service.users.get(name) != password:
                self._answer(401, {"errors": [{"code": "DENIED", "message": "wrong password"}]})
                return
            access = []
            for scope in scopes:
                kind, repository, actions = scope.split(":")
                access.append({"type": kind, "name": repository, "actions": actions.split(",")})
            now = int(time.time())
            claims: dict[str, object] = {
                "iss": "test-issuer",
                "sub": name,
                "aud": query["service"][0],
                "jti": "1",
                "access": access,
            }
            claims |= {"exp": now + service.lifetime, "nbf": now - 10, "iat": now}
            self._answer(200, {"token": _sign(claims, certificate, key), "expires_in": service.lifetime})

        def _answer(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
