"""The folder that keeps what the tests fetch and build, from one run to the next."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def folder() -> Path:
    """`$MODELMILL_TESTS_CACHE`, else `modelmill-tests` in the user's cache folder."""
    chosen = os.environ.get("MODELMILL_TESTS_CACHE")
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(chosen) if chosen else Path(root) / "modelmill-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of this name, so that two runs do not make the same thing at once."""
    with (folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The cached folder of this name; `make` fills it the first time, and a half-filled one never appears."""
    path = folder() / name
    with locked(name):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=folder(), prefix=f"{name}-") as scratch:
                fresh = Path(scratch) / "made"
                fresh.mkdir()
                make(fresh)
                fresh.rename(path)
    return path


def download(requirement: str, out: Path, *options: str) -> Path:
    """Fetch one distribution file with pip, as this machine's pip is configured, and return its path."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, *options, "--dest", str(out), requirement], check=True)
    (file,) = out.iterdir()
    return file
