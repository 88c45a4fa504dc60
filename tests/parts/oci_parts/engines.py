"""A dockerd and a podman of one's own, without bridge and iptables, so that they run inside a container too."""

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oci_parts.programs import newer_engine, program


@dataclass(kw_only=True)
class Engine:
    """A running engine: where it listens, and what its command line is called with."""

    socket: str
    command: list[str]
    environment: dict[str, str]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{arguments}: {done.stderr}")
        return done


@contextlib.contextmanager
def dockerd(folder: Path, *, newer: bool = False, containerd_store: bool = False) -> Iterator[Engine]:
    """A dockerd whose data, socket and logs lie in `folder`; skipped in words where none can run.

    `newer` is Debian 13's (Docker 26), which can also keep images in containerd's store.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root to run dockerd")
    daemon, client = program("dockerd"), program("docker")
    path = os.environ["PATH"]
    if newer:
        root = newer_engine()
        daemon, path = str(root / "sbin" / "dockerd"), f"{root}/bin:{root}/sbin:{path}"
    folder.mkdir(parents=True, exist_ok=True)
    state = tempfile.mkdtemp(prefix="docker-", dir="/run")  # sockets lie below, whose paths must be short
    host = f"unix://{state}/s"
    command = [daemon, "--data-root", str(folder / "d"), "--exec-root", f"{state}/e", "-H", host]
    command += ["--pidfile", str(folder / "p"), "--bridge=none", "--iptables=false", "--ip6tables=false"]
    command += ["--ip-forward=false", "--ip-masq=false", f"--config-file={folder}/daemon.json"]
    store = {"features": {"containerd-snapshotter": True}} if containerd_store else {"storage-driver": "overlay2"}
    (folder / "daemon.json").write_text(json.dumps(store))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PATH": path})
    environment = {**os.environ, "DOCKER_HOST": host, "DOCKER_BUILDKIT": "0"}
    engine = Engine(socket=host, command=[client], environment=environment)
    try:
        deadline = time.monotonic() + 30
        while engine.run("version", check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start here: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        yield engine
    finally:
        process.terminate()
        process.wait(30)
        _unmount(folder)
        _unmount(Path(state))
        shutil.rmtree(state, ignore_errors=True)


@contextlib.contextmanager
def podman_service(engine: Engine, folder: Path) -> Iterator[str]:
    """The socket of a podman that speaks Docker's own API."""
    service = [*engine.command, "system", "service", "--time=0", f"unix://{folder}/podman.sock"]
    process = subprocess.Popen(service, env=engine.environment)
    try:
        deadline = time.monotonic() + 30
        while not _answers(folder / "podman.sock"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"unix://{folder}/podman.sock"
    finally:
        process.terminate()
        process.wait(30)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _unmount(folder: Path) -> None:
    """Undo the mounts that an engine leaves below its folder (its network namespace), which nobody could remove."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


@contextlib.contextmanager
def podman(folder: Path) -> Iterator[Engine]:
    """A podman whose storage lies in `folder`, with limits that a container without CAP_SYS_RESOURCE allows."""
    if os.geteuid() != 0:
        pytest.skip("needs root to run podman on overlay")
    client = program("podman")
    program("runc")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = ["nofile=1024:{_hard(resource.RLIMIT_NOFILE)}",'
        f'"nproc=1024:{_hard(resource.RLIMIT_NPROC)}"]\n'
        '[engine]\nruntime = "runc"\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\n'
    )
    state = tempfile.mkdtemp(prefix="podman-", dir="/run")
    command = [client, "--root", str(folder / "root"), "--runroot", state]
    (folder / "auth.json").write_text("{}")
    own = {"REGISTRY_AUTH_FILE": str(folder / "auth.json"), "DOCKER_CONFIG": ""}
    environment = {**os.environ, **own, "CONTAINERS_CONF": str(folder / "containers.conf")}
    engine = Engine(socket="", command=command, environment=environment)
    if engine.run("info", check=False).returncode:
        pytest.skip(f"podman does not run here: {engine.run('info', check=False).stderr[-500:]}")
    try:
        yield engine
    finally:
        engine.run("rm", "-af", check=False)
        _unmount(folder)
        _unmount(Path(state))
        shutil.rmtree(state, ignore_errors=True)


def _hard(limit: int) -> int:
    """The hard limit that this process may pass on: a container engine without privileges cannot raise it."""
    _, hard = resource.getrlimit(limit)
    return 30000 if hard == resource.RLIM_INFINITY else min(hard, 30000)
