"""Repositories of plugins: installed into a folder of their own, and looked at as their authors would."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def run(command: list[str], cwd: Path, path: Path, more: Mapping[str, str] | None = None) -> str:
    """What a command says, with the packages of a folder at hand; a command that fails fails the test."""
    environment = os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"} | dict(more or {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(folder: Path, site: Path) -> None:
    """Install a repository into a folder, and nothing that it needs."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    run([*pip, "."], folder, site)


def pass_own_tests(folder: Path, site: Path, base: Path, more: Mapping[str, str] | None = None) -> str:
    """Run a repository's own tests, and say what pytest says."""
    own = ["-p", "no:cacheprovider", "--basetemp", str(base)]
    return run([sys.executable, "-m", "pytest", "-q", *own], folder, site, more)


def keep_to_the_rules(folder: Path, package: str, site: Path, cache: Path) -> None:
    """Hold a repository against the rules of this one: ruff's and mypy's."""
    config = str(ROOT / "pyproject.toml")
    ignore = "INP001,PLR2004,S101,TID253"
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", config, "--extend-ignore", ignore]
    run([*ruff, "--config", f"src = ['{folder}']", "."], folder, site)
    run([sys.executable, "-m", "ruff", "format", "--no-cache", "--config", config, "--check", "."], folder, site)
    run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), package, "tests"], folder, site)


def known(folder: Path, site: Path) -> tuple[list[str], str]:
    """The distributions of all plugins that modelmill finds, and what is broken of them."""
    code = (
        "from modelmill.registry import load; registry = load();"
        "print(*[plugin.distribution for plugin in registry.plugins]); print(*registry.broken)"
    )
    found, broken = run([sys.executable, "-c", code], folder, site).split("\n")[:2]
    return found.split(), broken
