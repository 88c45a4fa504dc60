"""The tutorial of the first plugin, followed word for word where nothing but the wheel is installed."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs/tutorial/first-plugin.md").read_text("utf-8")
BLOCK = re.compile(r"^```(console|python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {"python": "make_model.py", "toml": "build.toml"}
NUMBERS = ("Ten", "Eleven", "Twelve", "Thirteen")


def commands() -> list[str]:
    return [line[2:] for kind, text in BLOCK.findall(TEXT) if kind == "console" for line in text.splitlines()]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float]:
    """The folder in which everything was done as the page says, what was said, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("tutorial")
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(wheel, check=True)
    script = ["set -e"]
    for kind, text in BLOCK.findall(TEXT):
        if kind == "console":
            script += [line[2:] for line in text.splitlines()]
        else:
            (folder / FILES[kind]).write_text(text)
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    path = os.pathsep.join([f"{sys.base_prefix}/bin", "/usr/bin", "/bin"])
    started = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**kept, "PATH": path, "MODELMILL_STORE": str(folder / "store"), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout, time.monotonic() - started


def test_it_ends_with_artifacts_in_the_new_format_signed_and_verified(
    followed: tuple[Path, str, float], record_property: Callable[[str, object], None]
) -> None:
    folder, told, seconds = followed
    record_property("seconds that the tutorial of the first plugin took", round(seconds))
    assert "converters: huggingface-to-onefile" in told
    assert re.search(r"\d+ passed", told)
    assert "release tiny 1.0.0: good" in told
    for target in ("by-name", "by-size"):
        assert (folder / "dist/tiny/1.0.0" / target / "model.onefile").is_file()
    assert (folder / "dist/tiny/1.0.0/by-name/model.sig").is_file()


def test_it_says_how_many_commands_it_takes() -> None:
    assert f"\n{NUMBERS[len(commands()) - 10]} commands and two files to save" in TEXT


def test_what_it_signed_passes_the_program_that_the_readme_shows(followed: tuple[Path, str, float]) -> None:
    folder, _, _ = followed
    (folder / "model").symlink_to(folder / "dist/tiny/1.0.0")
    (folder / "release.pub").symlink_to(folder / "keys/release.pub")
    shown = next(text for kind, text in BLOCK.findall((ROOT / "README.md").read_text("utf-8")) if kind == "python")
    (folder / "read.py").write_text(shown)
    done = subprocess.run(
        [folder / ".venv/bin/python", "read.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[('by-name', 'onefile'), ('by-size', 'onefile')]\n"
