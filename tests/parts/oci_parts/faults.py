"""A TCP proxy in front of a registry that breaks what it is told to break, and counts."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Fault:
    """One thing that goes wrong once: at the first request whose head contains `when`.

    `cut_up` and `cut_down` close both sides after that many bytes of the request or of the answer. `flip`
    inverts the answer's byte at that offset.
    The first `skip` such requests pass. `answer` replies with this head and forwards nothing.
    """

    when: str
    cut_up: int | None = None
    cut_down: int | None = None
    flip: int | None = None
    answer: str = ""
    body: bytes = b""
    times: int = 1
    skip: int = 0


@dataclass(kw_only=True)
class FaultProxy:
    """The running proxy; `injected` counts the faults that really happened."""

    host: str = ""
    upstream: int = 0
    faults: list[Fault] = field(default_factory=list)
    injected: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, head: bytes) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.when.encode() not in head:
                    continue
                if fault.skip:
                    fault.skip -= 1
                else:
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                    return fault
        return None


_METHODS = (b"GET ", b"HEAD ", b"PUT ", b"POST ", b"PATCH ", b"DELETE ")


def _serve(proxy: FaultProxy, client: socket.socket) -> None:
    with contextlib.suppress(OSError), client:
        server = socket.create_connection(("127.0.0.1", proxy.upstream))
        with server:
            _relay(proxy, client, server)


@dataclass
class _Pair:
    """One connection through the proxy: the request under way, its fault, and how much of it has passed."""

    proxy: FaultProxy
    client: socket.socket
    server: socket.socket
    fault: Fault | None = None
    up: int = 0
    down: int = 0

    def from_client(self, data: bytes) -> bool:
        """Pass on what the client sent; False ends the connection."""
        if data.startswith(_METHODS):
            self.fault, self.up, self.down = self.proxy.take(data.partition(b"\r\n\r\n")[0]), 0, 0
        fault = self.fault
        if fault and fault.answer:
            self.proxy.injected += 1
            head = f"HTTP/1.1 {fault.answer}\r\nContent-Length: {len(fault.body)}\r\nConnection: close\r\n\r\n"
            self.client.sendall(head.encode() + fault.body)
            self.client.shutdown(socket.SHUT_WR)
            return False
        if fault and fault.cut_up is not None and self.up + len(data) > fault.cut_up:
            self.server.sendall(data[: max(0, fault.cut_up - self.up)])
            self.proxy.injected += 1
            return False
        self.up += len(data)
        self.proxy.bytes_up += len(data)
        self.server.sendall(data)
        return bool(data)

    def from_server(self, data: bytes) -> bool:
        """Pass on what the registry answered; False ends the connection."""
        fault = self.fault
        if fault and fault.flip is not None and self.down <= fault.flip < self.down + len(data):
            place = fault.flip - self.down
            data = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
            self.proxy.injected += 1
        if fault and fault.cut_down is not None and self.down + len(data) > fault.cut_down:
            self.client.sendall(data[: max(0, fault.cut_down - self.down)])
            self.proxy.injected += 1
            return False
        self.down += len(data)
        self.proxy.bytes_down += len(data)
        self.client.sendall(data)
        return bool(data)


def _relay(proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
    pair = _Pair(proxy, client, server)
    while True:
        ready, _, _ = select.select([client, server], [], [], 60)
        if not ready:
            return
        if client in ready and not pair.from_client(client.recv(65536)):
            return
        if server in ready and not pair.from_server(server.recv(65536)):
            return


@contextlib.contextmanager
def fault_proxy(upstream: int) -> Iterator[FaultProxy]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    proxy = FaultProxy(host=f"127.0.0.1:{listener.getsockname()[1]}", upstream=upstream)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_serve, args=(proxy, client), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
