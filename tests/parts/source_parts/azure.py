"""A server that answers as Azure does: identity, registry and blob storage in one.

Paths and bodies: azure-ai-ml 1.35.2 (`_utils/_registry_utils.py`), azure-identity (App Service's managed identity),
and the Blob service's List Blobs.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

TOKEN = "token-of-the-identity"  # noqa: S105
SIGNATURE = "sv=2021&sig=very%2Bsecret%3D"
_BASE = "/mferp/managementfrontend/subscriptions/sub/resourceGroups/group"
_REGISTRY = f"{_BASE}/providers/Microsoft.MachineLearningServices/registries/azureml"


@dataclass
class Azure:
    """What the server holds, and what goes wrong with it next."""

    address: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """By name in the container."""
    folders: tuple[str, ...] = ()
    page: int = 2
    """Blobs that one page of a listing has."""
    faults: list[tuple[str, int]] = field(default_factory=list)
    """Parts of paths, and the statuses that the first requests that contain them are answered with."""
    cut_after: int | None = None
    corrupted: int = 0
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    state: Azure
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        self.state.requests.append((self.command, self.path, dict(self.headers)))
        for fault in self.state.faults:
            if fault[0] in self.path:
                self.state.faults.remove(fault)
                self.reply(fault[1], b"no")
                return
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/identity":
            granted = self.headers["X-IDENTITY-HEADER"] == "header" and query["resource"] == "https://ml.azure.com"
            self.json({"access_token": TOKEN, "expires_on": "4102444800", "token_type": "Bearer"} if granted else None)
        elif parts.path.startswith("/container"):
            self.storage(unquote(parts.path.removeprefix("/container").lstrip("/")), query)
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.reply(401, b"")
        else:
            self.registry(parts.path, query, json.loads(body or b"{}"))

    def registry(self, path: str, query: dict[str, str], body: dict[str, str]) -> None:
        uri = f"{self.state.address}/container/models/one"
        version = query["api-version"]
        if (path, version) == ("/registrymanagement/v1.0/registries/azureml/discovery", "v1.0"):
            where = {"primaryRegionResourceProviderUri": f"{self.state.address}/"}
            self.json({**where, "subscriptionId": "sub", "resourceGroup": "group"})
        elif version != "2021-10-01-dataplanepreview":
            self.reply(400, b"")
        elif path == f"{_REGISTRY}/models/tiny/versions/3":
            self.json({"properties": {"modelUri": uri}})
        elif path == f"{_REGISTRY}/datarefs/tiny/versions/3" and body == {
            "assetId": "azureml://registries/azureml/models/tiny/versions/3",
            "blobUri": uri,
        }:
            sas = {"credentialType": "SAS", "sasUri": f"{self.state.address}/container?{SIGNATURE}"}
            self.json({"blobReferenceForConsumption": {"blobUri": uri, "credential": sas}})
        else:
            self.reply(404, b"")

    def storage(self, name: str, query: dict[str, str]) -> None:
        if query.get("sig") != "very+secret=" or "Authorization" in self.headers:
            self.reply(403, b"")
        elif not name:
            self.listing(query)
        elif name in self.state.blobs:
            self.blob(self.state.blobs[name])
        else:
            self.reply(404, b"")

    def listing(self, query: dict[str, str]) -> None:
        names = sorted(name for name in (*self.state.blobs, *self.state.folders) if name.startswith(query["prefix"]))
        start = int(query.get("marker", "0"))
        shown = "".join(self.entry(name) for name in names[start : start + self.state.page])
        more = str(start + self.state.page) if start + self.state.page < len(names) else ""
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="container">'
            f"<Blobs>{shown}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>"
        )
        self.reply(200, text.encode())

    def entry(self, name: str) -> str:
        data = self.state.blobs.get(name, b"")
        folder = "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>" if name in self.state.folders else ""
        properties = f"<Content-Length>{len(data)}</Content-Length><Etag>0x{hash(data) & 0xFFFFFFFF:x}</Etag>"
        return f"<Blob><Name>{escape(name)}</Name><Properties>{properties}</Properties>{folder}</Blob>"

    def blob(self, data: bytes) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if self.state.corrupted:
            self.state.corrupted -= 1
            data = bytes([data[0] ^ 1]) + data[1:]
        self.reply(206 if start else 200, data[start:])

    def json(self, value: Any) -> None:
        self.reply(400 if value is None else 200, json.dumps(value).encode())

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.state.cut_after is not None and len(body) > self.state.cut_after:
            self.wfile.write(body[: self.state.cut_after])
            self.state.cut_after = None
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(body)


@contextmanager
def serving(state: Azure) -> Iterator[Azure]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
