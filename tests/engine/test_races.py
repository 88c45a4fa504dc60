"""Processes that share a store or a release's folder, met at the very moments that hurt: nothing is lost or mixed."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from modelmill.store import Store
from modelmill.store.filesystem import left_behind, write_atomic

from .conftest import BUILD, Mill, assert_nothing_half_made, told, with_options
from .test_faults import wait_for_a_step

PLACE = """
import hashlib, subprocess, sys
from pathlib import Path
from modelmill.artifact.assemble import place
from modelmill.store import Store
from modelmill.tree import OutFile

root, name, text, *moments = Path(sys.argv[1]), *sys.argv[2:]

def another_build(event, arguments):
    if moments and event == moments[0] and (event == "fcntl.flock" or ".modelmill-" in str(arguments[0])):
        other = f"{{text}}-{{moments.pop(0)}}"
        subprocess.run([sys.executable, "-c", {program!r}, root, other, other], check=True)

store = Store(root / "store")
digest = hashlib.sha256(text.encode()).hexdigest()
(root / text).write_text(text)
store.adopt(root / text, digest, len(text))
sys.addaudithook(another_build)
files = {{"text": OutFile(path="text", mode=0o644, size=len(text), sha256=digest)}}
place(store, root / "dist" / name, files, text, lambda folder: (folder / "about").touch(), lambda: None)
"""


@pytest.mark.fault
@pytest.mark.parametrize("moments", [("open",), ("fcntl.flock", "os.rename"), ("shutil.rmtree",)])
def test_another_build_clears_up_just_as_an_artifact_is_placed(tmp_path: Path, moments: tuple[str, ...]) -> None:
    program = PLACE.format(program=PLACE.format(program=""))
    for text in ("first", "second"):
        subprocess.run([sys.executable, "-c", program, tmp_path, "one", text, *moments], check=True)
        assert (tmp_path / "dist/one/text").read_text() == text
        assert sorted(path.name for path in (tmp_path / "dist/one").iterdir()) == ["about", "text"]
    assert (tmp_path / "dist" / f"first-{moments[0]}").is_dir()
    assert list((tmp_path / "dist").glob(".*")) == []


@pytest.mark.fault
def test_what_a_killed_build_left_of_an_index_goes_and_what_a_living_one_writes_stays(mill: Mill) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    (release,) = (mill.folder / "dist").glob("*/*/release.json")
    dead, alive = (release.with_name(f".release.json.{digit * 32}") for digit in "ab")
    dead.write_text("{")
    with alive.open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        release.unlink()
        assert mill.run("build").code == 0
        assert (release.is_file(), dead.exists(), alive.exists()) == (True, False, True)
    release.unlink()
    assert mill.run("build").code == 0
    assert not alive.exists()


def test_a_temporary_that_is_taken_for_one_left_behind_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    removed: list[Path] = []

    def flock(file: BinaryIO, how: int) -> None:
        for path in [] if removed else list(left_behind(tmp_path)):
            path.unlink()
            removed.append(path)
        real(file, how)

    monkeypatch.setattr("modelmill.store.filesystem.fcntl.flock", flock)
    write_atomic(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert len(removed) == 1
    assert list(left_behind(tmp_path)) == []


def test_a_blob_that_goes_while_the_store_is_looked_through_is_not_there(mill: Mill) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    before = mill.run("cache", "stats", "--json").json()
    (mill.folder / "store/blobs/sha256" / ("1" * 64)).symlink_to("nowhere")  # a name that is listed, and no file
    assert mill.run("cache", "stats", "--json").json() | {"disk_free_bytes": before["disk_free_bytes"]} == before
    done = mill.run("cache", "verify", "--json")
    assert (done.code, done.json()["files"], done.json()["damaged"]) == (0, before["files"], [])


def test_a_damaged_blob_that_was_made_again_meanwhile_is_not_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = hashlib.sha256(b"good").hexdigest()
    (tmp_path / "bad").write_bytes(b"evil")
    store.adopt(tmp_path / "bad", digest, 4)
    found = store.examine(digest)
    assert found is not None
    assert not found.good
    (tmp_path / "good").write_bytes(b"good")
    store.blob(digest).unlink()
    store.adopt(tmp_path / "good", digest, 4)
    assert not store.discard(digest, found.status)
    assert store.verify(digest)
    found = store.examine(digest)
    assert found is not None
    assert store.discard(digest, found.status)
    assert store.examine(digest) is None


@pytest.mark.fault
def test_the_store_is_looked_at_checked_and_pruned_beside_builds(mill: Mill) -> None:
    mill.write(with_options('fault = "sleep"'))
    (mill.folder / "words" / "words.txt").write_text("text 0\n")
    loop = 'for number in 1 2; do "$@" || exit; echo "text $number" > words/words.txt; done'
    builds = subprocess.Popen(
        ["sh", "-c", loop, "sh", *mill.command("build")],
        cwd=mill.folder,
        env=mill.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_a_step(mill)
    rounds = 0
    while builds.poll() is None:
        assert mill.run("cache", "stats").code == 0
        assert mill.run("cache", "verify").code == 0
        done = mill.run("cache", "prune", "--keep-last", "1")
        assert done.code == 0 or "a build is using the store, so nothing was removed" in told(done)
        rounds += 1
    _, err = builds.communicate()
    assert (builds.returncode, "Traceback" in err) == (0, False), err
    assert rounds > 0
    assert mill.files()["words/1.0/plain/loud.txt"] == b"TEXT 1\n"
    assert_nothing_half_made(mill)


def test_what_killed_processes_had_begun_to_write_is_collected(mill: Mill) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    store = mill.folder / "store"
    before = mill.files("store")
    left = [store / f".index.json.{'0' * 32}", store / "uptodate" / f"{'a' * 64}.json.4711"]
    left += [
        store / folder / f".{'b' * 64}.json.{'f' * 32}" for folder in ("steps", "targets", "uses", "facts", "dist")
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("{")
    (store / ".keep").touch()
    assert mill.run("cache", "gc").code == 0
    assert [path for path in left if path.exists()] == []
    assert mill.files("store").keys() >= before.keys() | {".keep"}
