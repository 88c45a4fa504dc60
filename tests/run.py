"""Install what the tests need and run every check: `python3 tests/run.py`.

Needs Python 3.11 or later with venv, pip's usual access to a package index, and a C++ compiler (for llama.cpp,
which the tests load models with; built the first time, about four minutes on two cores, and kept). With
arguments it runs pytest alone, with them: `python3 tests/run.py tests/gguf -k Q4_K`.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "tests/constraints.txt"
ENVIRONMENT = ROOT / ".venv-test"
PYTHON = ENVIRONMENT / "bin/python"
PIP = ("-m", "pip", "--disable-pip-version-check", "-qq")
CHECKS: dict[str, Sequence[str]] = {
    "lint": ("-m", "ruff", "check", "."),
    "format": ("-m", "ruff", "format", "--check", "."),
    "types": ("-m", "mypy"),
    "layers": ("-c", "from importlinter.cli import lint_imports_command as run; run()"),
    "tests": ("-m", "pytest", "-n", "2", "--dist", "loadfile"),
}


def main(arguments: Sequence[str]) -> int:
    """Run everything, or pytest with these arguments; return the exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is run before anything is installed
        sys.exit(f"modelmill needs Python 3.11 or later; this is {sys.version.split()[0]}")
    install()
    if arguments:
        return call(PYTHON, "-m", "pytest", *arguments)
    failed = [name for name, check in CHECKS.items() if timed(name, PYTHON, *check)]
    failed += ["wheel"] * bool(check_wheel())
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return int(bool(failed))


def install() -> None:
    """Make the environment, or bring it up to date, unless it was made from the same files."""
    stamp = ENVIRONMENT / f"made-from-{sys.implementation.cache_tag}"
    sources = [CONSTRAINTS, ROOT / "pyproject.toml", ROOT / "tests/parts/reference/llama_build.py"]
    wanted = hashlib.sha256(sys.version.encode() + b"".join(path.read_bytes() for path in sources)).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not stamp.exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
    # torch first and by its exact version, so that a CPU build offered beside the index is what all others find.
    torch = next(line for line in CONSTRAINTS.read_text().split() if line.startswith("torch=="))
    must("torch", PYTHON, *PIP, "install", "-c", str(CONSTRAINTS), torch)
    must("llama.cpp", PYTHON, "-m", "reference.llama_build")
    must("install", PYTHON, *PIP, "install", "-c", str(CONSTRAINTS), *wheels(), "-e", f"{ROOT}[all,test]")
    stamp.write_text(wanted)


def wheels() -> tuple[str, str]:
    """Where pip finds the llama-cpp-python wheel that was built for the tests."""
    query = "from reference.llama_build import wheel; print(wheel().parent)"
    found = subprocess.run([PYTHON, "-c", query], env=environment(), check=True, capture_output=True, text=True)
    return "--find-links", found.stdout.strip()


def check_wheel() -> int:
    """Build the wheel, install it where nothing else is, and run the tests that need no model tool but ggml."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        must("build the wheel", PYTHON, *PIP, "wheel", "--no-deps", "--wheel-dir", str(folder / "dist"), str(ROOT))
        (wheel,) = (folder / "dist").iterdir()
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv/bin/python"
        must("install the wheel", python, *PIP, "install", "-c", str(CONSTRAINTS), f"{wheel}[gguf]", "pytest")
        return timed("wheel", python, "-m", "pytest", "tests/wheel")


def environment() -> dict[str, str]:
    """This process's environment, with the tests' own tools in reach, and with leave to make tool environments."""
    return os.environ | {"PYTHONPATH": str(ROOT / "tests/parts"), "MODELMILL_TEST_TOOLCHAINS": "1"}


def must(name: str, *command: str | Path) -> None:
    """Run a command and end here where it fails."""
    if status := timed(name, *command):
        sys.exit(f"{name} failed with exit status {status}; what it said is above")


def timed(name: str, *command: str | Path) -> int:
    """Run a command under a heading and say how long it took."""
    say(f"== {name}")
    start = time.monotonic()
    status = call(*command)
    say(f"== {name}: {'failed' if status else 'done'} in {time.monotonic() - start:.0f} s")
    return status


def call(*command: str | Path) -> int:
    """Run a command in the checkout, with no input."""
    return subprocess.run(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, check=False).returncode


def say(text: str) -> None:
    """Print at once, so that the lines of this script and of its commands stay in order."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
