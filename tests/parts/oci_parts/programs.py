"""Programs of the operating system that tests need: found, installed where that is possible, else skipped in words."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

PACKAGES = {
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "skopeo": "skopeo",
    "podman": "podman",
    "runc": "runc",
    "umoci": "umoci",
    "busybox": "busybox-static",
    "htpasswd": "apache2-utils",
}


@cache
def install(package: str) -> str:
    """Install a Debian package; the reason why it could not be, or nothing."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "it is not installed, and only root on Debian can install it here"
    if os.environ.get("MODELMILL_TEST_INSTALL") != "1":
        return "it is not installed; with MODELMILL_TEST_INSTALL=1 the tests install it"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return f"apt-get install failed: {done.stderr[-300:]}" if done.returncode else ""


def program(name: str) -> str:
    """The path of a program, or a skip that says why there is none."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not found:
        reason = install(PACKAGES.get(name, name))
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if not found:
            pytest.skip(f"needs {name}: {reason or 'its package does not bring it'}")
    return found


NEWER = {"cosign": "cosign", "oras": "oras", "docker-compose": "docker-compose"}
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelmill-tests" / "trixie"


@cache
def fetch(package: str) -> str:
    """Unpack a package of Debian 13 beside the system's, whatever release that is; the reason why not, or nothing."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "it is fetched from Debian 13, which needs apt-get and dpkg-deb"
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not keyring.is_file():
        return f"it is fetched from Debian 13, which needs {keyring}"
    for folder in ("lists/partial", "cache/archives/partial"):
        (_CACHE / folder).mkdir(parents=True, exist_ok=True)
    (_CACHE / "sources.list").write_text(f"deb [signed-by={keyring}] http://deb.debian.org/debian trixie main\n")
    options = {
        "Dir::Etc::sourcelist": _CACHE / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": _CACHE / "lists",
        "Dir::Cache": _CACHE / "cache",
        "Dir::State::status": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    for command in ([*apt, "update"], [*apt, "download", package]):
        done = subprocess.run(command, cwd=_CACHE, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"apt-get failed: {done.stderr[-300:]}"
    (archive,) = _CACHE.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(_CACHE / "root")], check=True)
    return ""


def newer_engine() -> Path:
    """The folder of Debian 13's dockerd and containerd, which run on Debian 12 too, or a skip that says why not."""
    places = {"docker.io": _CACHE / "root/usr/sbin/dockerd", "containerd": _CACHE / "root/usr/bin/containerd"}
    for package, path in places.items():
        if not path.is_file() and (reason := fetch(package)):
            pytest.skip(f"needs {package} of Debian 13: {reason}")
    return _CACHE / "root" / "usr"


def newer_program(name: str) -> str:
    """The path of a program that only Debian 13 packages, or a skip that says why there is none."""
    for place in ("usr/bin", "usr/libexec/docker/cli-plugins"):
        if (path := _CACHE / "root" / place / name).is_file():
            return str(path)
    if found := shutil.which(name):
        return found
    reason = fetch(NEWER[name])
    if reason:
        pytest.skip(f"needs {name}: {reason}")
    return newer_program(name)
