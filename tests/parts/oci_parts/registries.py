"""A real docker-registry on loopback: open, with htpasswd, with tokens, or with TLS."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oci_parts.programs import program


@dataclass(kw_only=True)
class RegistryServer:
    """A registry process that can be killed and started again on the same port and data."""

    config: Path
    port: int
    log: Path
    ca: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program("docker-registry"), "serve", str(self.config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise TimeoutError(f"docker-registry does not listen on {self.port}: {self.log.read_text()[-2000:]}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def blob_path(self, digest: str) -> Path:
        text = digest.removeprefix("sha256:")
        return self.config.parent / f"data/docker/registry/v2/blobs/sha256/{text[:2]}/{text}/data"

    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each request served so far, from the access log."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if '" ' in line and ("HTTP/1.1" in line) and line.startswith("127."):
                method, path = line.split('"')[1].split()[:2]
                found.append((method, path))
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def registry_server(
    folder: Path, *, auth: str = "", tls: tuple[Path, Path, Path] | None = None
) -> Iterator[RegistryServer]:
    """Serve from `folder`; `auth` is YAML for the `auth:` key, `tls` are certificate, key and authority."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    certificate = f"  tls:\n    certificate: {tls[0]}\n    key: {tls[1]}\n" if tls else ""
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\nlog:\n  level: error\n"
        f"storage:\n  filesystem:\n    rootdirectory: {folder}/data\n  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{port}\n{certificate}{auth}"
    )
    server = RegistryServer(config=config, port=port, log=folder / "log", ca=tls[2] if tls else None)
    server.start()
    try:
        yield server
    finally:
        server.kill(signal.SIGTERM)


def call(server: RegistryServer, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """One request to a registry by other means than the client under test."""
    connection: http.client.HTTPConnection
    if server.ca:
        context = ssl.create_default_context(cafile=str(server.ca))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def docker_config(folder: Path, content: object) -> dict[str, str]:
    """An environment whose only docker configuration has this content."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    return {"DOCKER_CONFIG": str(folder), "HOME": str(folder), "PATH": os.environ["PATH"]}
