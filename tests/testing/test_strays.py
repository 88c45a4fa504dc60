"""What a step writes outside its folders is told, and nothing else is, however it names its files."""

import os
import textwrap
from pathlib import Path

import pytest

from modelmill.step import find
from modelmill.testing.steps import Outcome, Surroundings, run_step
from modelmill.types import Job, Limits

PLUGIN = """
import os, shutil
from dataclasses import replace
from pathlib import Path

import tally

def run(job):
    scratch, outside = job.limits.scratch, job.source.parent / "outside"
    folder = os.open(scratch, os.O_RDONLY)
{body}
    tally.run(job)

def modelmill_converters():
    return (replace(tally.CONVERTER, run=run),)
"""
SOUND = {
    "removes a tree in scratch": """
        (scratch / "deep/er").mkdir(parents=True)
        (scratch / "deep/er/file").touch()
        shutil.rmtree(scratch / "deep")
    """,
    "makes and removes by a folder's descriptor": """
        os.mkdir("here", dir_fd=folder)
        os.close(os.open("here/file", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
        os.rename("here/file", "file", src_dir_fd=folder, dst_dir_fd=folder)
        os.rmdir("here", dir_fd=folder)
        os.link("file", "again", src_dir_fd=folder, dst_dir_fd=folder)
        os.unlink("file", dir_fd=folder)
    """,
    "links to its source and removes the links": """
        (scratch / "model").mkdir()
        os.symlink(job.source / "words.txt", scratch / "model/words.txt")
        os.symlink(job.source / "words.txt", "words.txt", dir_fd=folder)
        shutil.rmtree(scratch / "model")
        os.unlink("words.txt", dir_fd=folder)
    """,
    "is somewhere else and names its files in full": """
        os.chdir("/")
        (scratch / "file").touch()
    """,
    "names a folder that is not open": """
        try:
            os.unlink("file", dir_fd=999)
        except OSError as error:
            assert error.errno == 9
    """,
}
STRAYS = {
    "writes beside": ("(outside / 'file').touch()", {"file"}),
    "removes beside, by descriptor": (
        "os.unlink('kept', dir_fd=os.open(outside, os.O_RDONLY))",
        {"kept"},
    ),
    "removes a tree beside": ("shutil.rmtree(outside)", {"", "kept"}),
    "moves a file out, by descriptor": (
        """
        (scratch / "file").touch()
        os.rename("file", "moved", src_dir_fd=folder, dst_dir_fd=os.open(outside, os.O_RDONLY))
        """,
        {"moved"},
    ),
    "writes by way of a link": (
        """
        os.symlink(outside, scratch / "link")
        (scratch / "link/file").touch()
        """,
        {"file"},
    ),
    "writes through a link": (
        """
        os.symlink(outside / "kept", scratch / "link")
        (scratch / "link").write_text("new")
        """,
        {"kept"},
    ),
    "opens a file in its working folder": (
        """
        os.chdir(outside)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT))
        """,
        {"file"},
    ),
}


def step(body: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Run a step with these lines in it, in a working folder that is none of its own."""
    for name in ("code", "source", "outside", "cwd", "run/out", "run/scratch"):
        (folder / name).mkdir(parents=True)
    (folder / "source/words.txt").write_text("To be.")
    (folder / "outside/kept").touch()
    module = f"strays_{abs(hash(body))}"
    text = PLUGIN.format(body=textwrap.indent(textwrap.dedent(body).strip(), "    "))
    (folder / "code" / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(folder / "code")
    job = Job(
        source=folder / "source",
        inputs={},
        out=folder / "run/out",
        scheme="plain",
        options=find(module, "converter", "text-to-tally").options(),
        hardware=None,
        limits=Limits(scratch=folder / "run/scratch"),
    )
    around = Surroundings(cwd=folder / "cwd", environment={})
    outcome = run_step(module, "converter", "text-to-tally", job, surroundings=around)
    assert outcome.event == "done", f"{outcome.message}\n{outcome.log}"
    return outcome


@pytest.mark.parametrize("what", SOUND)
def test_nothing_is_said_of_a_step_that(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert step(SOUND[what], tmp_path, monkeypatch).strays == ()


@pytest.mark.parametrize("what", STRAYS)
def test_it_is_told_of_a_step_that(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, names = STRAYS[what]
    assert set(step(body, tmp_path, monkeypatch).strays) == {
        os.path.normpath(tmp_path / "outside" / name) for name in names
    }


def test_folders_that_are_reached_by_a_link_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert step(SOUND["removes a tree in scratch"], tmp_path / "link", monkeypatch).strays == ()
