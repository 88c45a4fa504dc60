"""A server that speaks the Hugging Face hub's protocol, and goes wrong on request."""

import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

COMMIT = "1" * 40
CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Hub:
    """A server that speaks the hub's protocol, and goes wrong on request."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    """Statuses to answer with before all is well."""
    cut_after: int | None = None
    """Bytes after which the next answer breaks off."""
    stall_after: int | None = None
    """Bytes after which the next answer comes no further until the server ends."""
    stalled: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    corrupted: int = 0
    """Answers that come with one byte wrong."""
    error_code: str | None = None
    commit: str = COMMIT
    """What `main` stands for."""
    older: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """The files of other commits."""
    no_ranges: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    lies: dict[str, bytes] = field(default_factory=dict)
    """What is served instead of files."""
    elsewhere: str | None = None
    """Another server, where files are redirected to."""

    def at(self, commit: str) -> dict[str, bytes] | None:
        return self.files if commit == self.commit else self.older.get(commit)


class Handler(http.server.BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.state.requests.append((self.path, self.headers.get("Range", ""), self.headers.get("Authorization")))
        if self.state.answers:
            self.reply(self.state.answers.pop(0), b"no")
        elif self.path.startswith("/api/models/"):
            self.api()
        elif self.state.elsewhere:
            self.reply(302, b"", Location=self.state.elsewhere + self.path)
        else:
            _, _, rest = self.path.partition("/resolve/")
            commit, _, name = rest.partition("/") if rest else (self.state.commit, "", self.path.lstrip("/"))
            files = self.state.at(commit)
            self.reply(404, b"no") if files is None or name not in files else self.file(
                self.state.lies.get(name, files[name])
            )

    def api(self) -> None:
        _, _, rest = self.path.partition("/revision/")
        revision = rest.partition("?")[0]
        commit = self.state.commit if revision == "main" else revision
        files = self.state.at(commit)
        if self.state.error_code or files is None:
            code = self.state.error_code or "RevisionNotFound"
            self.reply(403 if code == "GatedRepo" else 404, b"{}", **{"X-Error-Code": code})
            return
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                **({"lfs": lfs(data)} if name.endswith(".safetensors") else {}),
            }
            for name, data in files.items()
        ]
        body = {
            "id": "team/model",
            "sha": commit,
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
            "private": False,
        }
        self.reply(200, json.dumps(body).encode(), **{"Content-Type": "application/json"})

    def file(self, data: bytes) -> None:
        start = 0
        wanted = self.headers.get("Range")
        if wanted and not self.state.no_ranges:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
        if self.state.corrupted:
            self.state.corrupted -= 1
            data = b"\0" + data[1:] if data[0] else b"\1" + data[1:]
        self.reply(206 if start else 200, data[start:])

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if status < 300 and self.state.cut_after is not None and len(body) > self.state.cut_after:
            self.wfile.write(body[: self.state.cut_after])
            self.state.cut_after = None
            self.close_connection = True
            self.connection.shutdown(2)
            return
        if status < 300 and self.state.stall_after is not None and len(body) > self.state.stall_after:
            self.wfile.write(body[: self.state.stall_after])
            self.state.stall_after = None
            self.state.stalled.set()
            self.state.over.wait(60)
            return
        self.wfile.write(body)


def lfs(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}


@contextmanager
def serving(state: Hub, context: ssl.SSLContext | None = None) -> Iterator[Hub]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.address = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
