"""What key services are served with on this machine: a certificate authority of the test's own, HTTP, and a proxy.

The clients are the services' own and unchanged. They reach a server here as they would reach theirs from behind a
company's proxy: through CONNECT, with an authority that the environment names.
"""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_HOST = "127.0.0.1"
_WAIT = 30


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A server's certificate, its key, and the authority that vouches for it, each a PEM file."""

    chain: Path
    key: Path
    authority: Path


def certificate(folder: Path, host: str) -> Certificate:
    """A certificate for one host, made now."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of a test")])
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    root = (
        _builder(name, name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _builder(own, name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    made = Certificate(chain=folder / "chain.pem", key=folder / "key.pem", authority=folder / "authority.pem")
    made.chain.write_bytes(leaf.public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made.authority.write_bytes(root.public_bytes(Encoding.PEM))
    return made


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


Answer = tuple[int, dict[str, str], bytes]
Answers = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Method, path, headers and body → status, headers and body."""


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


@contextmanager
def serving(answers: Answers, tls: Certificate | None = None) -> Iterator[int]:
    """An HTTP server on a port of loopback; HTTPS with a certificate."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _WAIT

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, fields, body = answers(self.command, self.path, headers, self.rfile.read(size))
            self.send_response(status)
            for name, value in {**fields, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    server = _Quiet((_HOST, 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.chain, tls.key)
        # The handshake is the connection's own thread's, which closes what fails.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_WAIT)


@contextmanager
def proxy(ports: Mapping[str, int]) -> Iterator[str]:
    """A proxy that takes `CONNECT host:443` to a port of loopback, and refuses every other host."""
    listener = socket.create_server((_HOST, 0))
    thread = threading.Thread(target=_accept, args=(listener, ports), daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(_WAIT)


def _accept(listener: socket.socket, ports: Mapping[str, int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_connect, args=(client, ports), daemon=True).start()


def _connect(client: socket.socket, ports: Mapping[str, int]) -> None:
    with client, suppress(OSError):
        client.settimeout(_WAIT)
        asked = b""
        while b"\r\n\r\n" not in asked and (more := client.recv(4096)):
            asked += more
        host = asked.split(b" ")[1].decode().removesuffix(":443") if asked.startswith(b"CONNECT ") else ""
        if host not in ports:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection((_HOST, ports[host]), _WAIT) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join(_WAIT)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
