"""An interpreter of its own with plugins of the test's own beside the installed modelmill."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from interpreters import install, make_interpreter

PLUGIN = Path(__file__).parent / "letters_plugin.py"


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)

    @property
    def begun(self) -> list[str]:
        """The titles of the steps that a build began, in that order."""
        return [line.strip().removesuffix(" …") for line in self.err.splitlines() if line.endswith(" …")]


@dataclass(frozen=True)
class Mill:
    """A folder with a build file, a store, and an interpreter that has the test's plugins."""

    python: Path
    folder: Path

    @property
    def site(self) -> Path:
        """The interpreter's site-packages."""
        return next(self.python.parent.parent.glob("lib/python*/site-packages"))

    def write(self, text: str, name: str = "build.toml") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "MODELMILL_STORE": str(self.folder / "store"), **more}

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "modelmill", *arguments]

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None, within: tuple[str, ...] = ()) -> Done:
        """Run a command of modelmill, as the last words of a command `within` which it is to run."""
        done = subprocess.run(
            [*within, *self.command(*arguments)],
            cwd=self.folder,
            env=self.environment(**(environment or {})),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def files(self, below: str = "dist") -> dict[str, bytes]:
        root = self.folder / below
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def lay_out(python: Path, folder: Path, text: str = "to be or not to be\n") -> Mill:
    """A build folder with a tiny source of the format `letters`."""
    mill = Mill(python=python, folder=folder)
    mill.write(text, "words/words.txt")
    return mill


def lay_out_alone(folder: Path, plugin: str | None = None, text: str = "to be or not to be\n") -> Mill:
    """The same with an interpreter of its own, which has this text as its plugin `letters`."""
    site = make_interpreter(folder / "interpreter")
    if plugin is not None:
        install(site, "letters", "1.0", {"letters": plugin})
    return lay_out(folder / "interpreter" / "bin" / "python", folder, text)


@pytest.fixture(scope="session")
def letters_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the plugin `letters`, shared by all tests that do not install more."""
    folder = tmp_path_factory.mktemp("interpreter")
    install(make_interpreter(folder), "letters", "1.0", {"letters": PLUGIN.read_text()})
    return folder / "bin" / "python"


@pytest.fixture
def mill(letters_python: Path, tmp_path: Path) -> Mill:
    """A build folder with a tiny source of the format `letters`."""
    return lay_out(letters_python, tmp_path)


BUILD = """
[project]
name = "words"
version = "1.0"
license = "MIT"

[source.base]
uri = "words"
format = "letters"

[defaults]
source = "base"
hardware = "bench"
format = "loud"

[target.plain]
scheme = "upper"

[target.short]
scheme = "short"

[target.tiny]
scheme = "tiny"

[sign]
mode = "none"
"""


def with_options(options: str) -> str:
    """BUILD with options for all targets."""
    return BUILD.replace('format = "loud"', f'format = "loud"\noptions = {{ {options} }}')


TINY = """
[project]
name = "tiny"
version = "1.0"
license = "MIT"

[source.base]
uri = "model"

[defaults]
source = "base"
hardware = "bench"
format = "gguf"

[target.half]
scheme = "F16"

[sign]
mode = "none"
"""
"""A GGUF file of the checkpoint that lies in `model`."""


def told(done: Done) -> str:
    """The one sentence of a build that failed."""
    (line,) = sentences(done)
    return line


def sentences(done: Done) -> list[str]:
    """What a build says of its failures: one sentence for each; warnings do not count."""
    lines = [line for line in done.err.splitlines() if line.startswith("modelmill: ")]
    assert not [line for line in lines if "None" in line]
    return [line for line in lines if not line.startswith("modelmill: warning: ")]


def assert_nothing_half_made(mill: Mill, store: Path | None = None, dist: Path | None = None) -> None:
    store, dist = store or mill.folder / "store", dist or mill.folder / "dist"
    if (store / "tmp").exists():
        assert not list((store / "tmp").iterdir())
    assert not [path for path in store.rglob(".*") if path.is_file()]
    for blob in store.glob("blobs/sha256/*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert not list(dist.rglob(".*"))
    assert not list(mill.folder.glob(".build.lock*"))


def assert_only_whole(dist: Path, undisturbed: dict[str, bytes]) -> None:
    """Every artifact in a folder is as it should be, with all its files."""
    release = dist / "words" / "1.0"
    for target in release.iterdir() if release.exists() else ():
        if target.is_dir():
            name = f"words/1.0/{target.name}/"
            found = {f"{name}{path.name}": path.read_bytes() for path in target.iterdir()}
            assert found == {path: data for path, data in undisturbed.items() if path.startswith(name)}


@pytest.fixture(scope="session")
def undisturbed(letters_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the build gives where nothing goes wrong."""
    mill = lay_out(letters_python, tmp_path_factory.mktemp("undisturbed"))
    mill.write(BUILD)
    assert mill.run("build").code == 0
    return mill.files()
