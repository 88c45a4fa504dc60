"""The upload half of a registry that keeps what a cut request brought, as the specification allows.

The packaged docker-registry 2.8 drops an upload whose chunk was cut, so it cannot show a resume in the middle.
"""

import contextlib
import hashlib
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class KeepingRegistry:
    """The uploads under way and the finished blobs."""

    uploads: dict[str, bytearray] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: KeepingRegistry

    def do_HEAD(self) -> None:
        self._answer(200 if self.path.rsplit("/", 1)[1] in self.registry.blobs else 404)

    def do_POST(self) -> None:
        name = str(len(self.registry.uploads))
        self.registry.uploads[name] = bytearray()
        self._answer(202, Location=f"/v2/team/m/blobs/uploads/{name}")

    def do_GET(self) -> None:
        self._answer(204, Range=f"0-{max(0, len(self._upload()) - 1)}", Location=self.path)

    def do_PATCH(self) -> None:
        start = int(self.headers["Content-Range"].partition("-")[0])
        if start != len(self._upload()):
            self._answer(416)
        elif self._receive():
            self._answer(202, Location=self.path)

    def do_PUT(self) -> None:
        if not self._receive():
            return
        data = bytes(self._upload())
        digest = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["digest"][0]
        if digest != "sha256:" + hashlib.sha256(data).hexdigest():
            self._answer(400)
        else:
            self.registry.blobs[digest] = data
            self._answer(201)

    def _upload(self) -> bytearray:
        return self.registry.uploads[urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[1]]

    def _receive(self) -> bool:
        left = int(self.headers["Content-Length"])
        while left and (data := self.rfile.read1(min(left, 65536))):
            self._upload().extend(data)
            left -= len(data)
        self.close_connection = self.close_connection or bool(left)
        return not left

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def keeping_registry() -> Iterator[tuple[KeepingRegistry, int]]:
    registry = KeepingRegistry()
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
