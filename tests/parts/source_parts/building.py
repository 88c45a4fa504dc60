"""modelmill's commands on a build of one source and one target."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


class Mill:
    """A folder with a build file, and a store in it."""

    def __init__(self, folder: Path, uri: str, more: str = "") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "build.toml").write_text(
            f'[project]\nname = "tiny"\nversion = "1"\nlicense = "MIT"\n[source.base]\nuri = "{uri}"\n{more}'
            '[target.pi]\nsource = "base"\nhardware = "raspberry-pi-5"\nformat = "gguf"\nscheme = "F16"\n'
            '[sign]\nmode = "none"\n'
        )

    def __call__(self, *words: str, before: tuple[str, ...] = (), environment: Mapping[str, str] | None = None) -> Done:
        command = [*before, *self.command(*words)]
        done = subprocess.run(
            command,
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def command(self, *words: str) -> list[str]:
        """The words of a command line."""
        return [sys.executable, "-m", "modelmill", *words, "--store", str(self.folder / "store")]
