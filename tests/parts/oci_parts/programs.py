"""Programs of the operating system that tests need: found, installed where that is possible, else skipped in words."""

import os
import shutil
import subprocess
from functools import cache

import pytest

PACKAGES = {
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "skopeo": "skopeo",
    "podman": "podman",
    "runc": "runc",
    "umoci": "umoci",
    "busybox": "busybox-static",
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
