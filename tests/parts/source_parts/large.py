"""A sharded checkpoint of any size on a hub, made up while it is served, and what locking and fetching it takes."""

import hashlib
import http.server
import json
import multiprocessing
import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from source_parts.building import Mill

COMMIT = "1" * 40
_BLOCK = 1 << 20
_SHARDS = 8
_OTHER = 64 * 2**20
"""Bytes of code, of configuration and of wire that a command may hash or fetch beside the weights."""
_CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 512, "vocab_size": 512}
_COUNTING = r"""
import atexit, hashlib, os, re, resource, sys, threading
real, counted, lock = hashlib.sha256, [0], threading.Lock()
class Counting:
    def __init__(self, data=b"", **more):
        self._hash = real(data, **more)
        counted[0] += len(data)
    def update(self, data):
        self._hash.update(data)
        with lock:
            counted[0] += memoryview(data).nbytes
    def __getattr__(self, name):
        return getattr(self._hash, name)
hashlib.sha256 = Counting
hashlib.file_digest = None
def tell():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if os.path.exists("/proc/self/status"):  # the process's own: the other figure begins with what its parent had
        peak = 1024 * int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])
    open(os.environ["COUNTED"], "w").write(f"{counted[0]} {peak}")
atexit.register(tell)
sys.argv[0] = "modelmill"
from modelmill.main import main
main()
"""
"""Runs modelmill with a sha256 that counts the bytes that it is given; leaves that and its peak memory, in bytes."""


@dataclass(frozen=True)
class Shard:
    """A safetensors file of one tensor: a header, then blocks that all are the same."""

    name: str
    number: int
    blocks: int

    @property
    def tensor(self) -> str:
        return f"model.layers.{self.number}.weight"

    def header(self) -> bytes:
        size = self.blocks * _BLOCK
        entry = {"dtype": "BF16", "shape": [size // 1024, 512], "data_offsets": [0, size]}
        text = json.dumps({self.tensor: entry}).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def block(self) -> bytes:
        return hashlib.shake_128(self.name.encode()).digest(_BLOCK)

    @property
    def size(self) -> int:
        return len(self.header()) + self.blocks * _BLOCK


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a command took: seconds, bytes of memory at its peak, bytes that went through sha256."""

    seconds: float
    memory: int
    hashed: int


def shards(size: int, count: int) -> list[Shard]:
    """Shards of together at least this size."""
    blocks = -(-size // (_BLOCK * count))
    return [Shard(f"model-{n + 1:05}-of-{count:05}.safetensors", n, blocks) for n in range(count)]


@contextmanager
def hub(files: list[Shard]) -> Iterator[tuple[str, Any]]:
    """The address of a hub with these shards, in a process of its own, and a function: bytes served so far."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(files, there), daemon=True)
    process.start()
    address = here.recv()

    def served() -> int:
        here.send("served")
        return int(here.recv())

    try:
        yield address, served
    finally:
        process.terminate()
        process.join()


def run(folder: Path, address: str, *words: str) -> Taken:
    """Run one command of modelmill in a folder with a build file, against a hub. AssertionError where it fails."""
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(folder / "hf"), "COUNTED": str(folder / "n")}
    command = [sys.executable, "-c", _COUNTING, *words, "--store", str(folder / "store")]
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, f"{' '.join(words)} exited with {done.returncode}"
    hashed, memory = map(int, (folder / "n").read_text().split())
    return Taken(seconds=time.monotonic() - began, memory=memory, hashed=hashed)


def measure(folder: Path, size: int) -> dict[str, Taken]:
    """Lock, then fetch, then lock again; what each took. AssertionError where one takes too much."""
    files = shards(size, _SHARDS)
    total = sum(shard.size for shard in files)
    Mill(folder, "hf://team/large")
    taken = {}
    with hub(files) as (address, served):
        taken["lock"] = run(folder, address, "lock")
        before = served()
        assert before < _OTHER, f"the lock fetched {before:,} bytes"
        taken["lock --fetch"] = run(folder, address, "lock", "--fetch")
        assert served() - before == total, f"{served() - before:,} bytes were fetched of {total:,}"
        assert total <= taken["lock --fetch"].hashed < total + _OTHER, taken
        taken["lock --check"] = run(folder, address, "lock", "--check")
        assert served() - before == total, "the check fetched weights"
    for command, item in taken.items():
        assert item.memory < 200 * 10**6, f"{command} took {item.memory / 1e6:.0f} MB"
        assert command == "lock --fetch" or item.hashed < _OTHER, f"{command} hashed {item.hashed:,} bytes"
    return taken


def _serve(files: list[Shard], control: Connection) -> None:
    weight_map = {shard.tensor: shard.name for shard in files}
    index = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    small = {"config.json": json.dumps(_CONFIG).encode(), "model.safetensors.index.json": index}
    by_name = {shard.name: shard for shard in files}
    served = [0]
    api = json.dumps(
        {
            "id": "team/large",
            "sha": COMMIT,
            "siblings": [
                *({"rfilename": name, "size": len(data)} for name, data in small.items()),
                *({"rfilename": shard.name, "size": shard.size, "lfs": _lfs(shard)} for shard in files),
            ],
        }
    ).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            if name in by_name:
                self.weights(by_name[name])
            else:
                self.begin(200, len(small.get(name, api)))
                self.wfile.write(small.get(name, api))

        def weights(self, shard: Shard) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            self.begin(206 if start else 200, shard.size - start)
            block, header = shard.block(), shard.header()
            pieces = (header, *(block for _ in range(shard.blocks)))
            at = 0
            try:
                for piece in pieces:
                    if at + len(piece) > start:
                        self.wfile.write(memoryview(piece)[max(0, start - at) :])
                        served[0] += len(piece)
                    at += len(piece)
            except OSError:
                self.close_connection = True

        def begin(self, status: int, size: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(size))
            self.end_headers()

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    control.send(f"http://127.0.0.1:{server.server_address[1]}")
    while control.recv():
        control.send(served[0])


def _lfs(shard: Shard) -> dict[str, Any]:
    digest, block = hashlib.sha256(shard.header()), shard.block()
    for _ in range(shard.blocks):
        digest.update(block)
    return {"sha256": digest.hexdigest(), "size": shard.size, "pointerSize": 134}
