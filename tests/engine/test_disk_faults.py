"""Disks that are full or read-only, each for real: one sentence, nothing half-made, and the next build completes."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import disks
import pytest

from .conftest import BUILD, Mill, assert_nothing_half_made, assert_only_whole, sentences, told, with_options
from .test_faults import faulty

pytestmark = pytest.mark.fault


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with disks.small(tmp_path / "disk", "4m") as folder:
        yield folder


def fill(folder: Path, leave: int) -> Path:
    """Take all room on a disk but this many KiB."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() - leave * 1024))
    return ballast


def test_a_step_that_fills_the_disk_of_the_store(mill: Mill, small_disk: Path, undisturbed: dict[str, bytes]) -> None:
    mill.write(faulty("fill"))
    store = small_disk / "store"
    done = mill.run("build", "--store", str(store))
    assert done.code == 1
    assert "shout upper (letters 1.0) ran out of room on the store's disk; make room" in told(done)
    assert not (mill.folder / "dist").exists()
    assert_nothing_half_made(mill, store)
    mill.write(BUILD)
    assert mill.run("build", "--store", str(store)).code == 0
    assert mill.files() == undisturbed


def test_a_step_is_not_begun_where_its_estimate_does_not_fit_the_disk(mill: Mill, small_disk: Path) -> None:
    mill.write(with_options("megabytes = 24"))
    done = mill.run("build", "plain", "--store", str(small_disk / "store"))
    assert done.code == 1
    assert "shout upper writes about 24 MiB, and" in told(done)
    assert_nothing_half_made(mill, small_disk / "store")


@pytest.mark.parametrize("leave", [0, 8, 24, 64, 128, 192])
def test_a_disk_of_the_store_with_next_to_no_room(
    mill: Mill, small_disk: Path, undisturbed: dict[str, bytes], leave: int
) -> None:
    mill.write(BUILD)
    store = small_disk / "store"
    ballast = fill(small_disk, leave)
    done = mill.run("build", "--store", str(store))
    assert done.code in (0, 1)
    for sentence in sentences(done):
        assert os.strerror(errno.ENOSPC) in sentence or "make room" in sentence
    assert done.code == 1 or leave > 0
    assert_nothing_half_made(mill, store)
    assert_only_whole(mill.folder / "dist", undisturbed)
    ballast.unlink()
    assert mill.run("build", "--store", str(store)).code == 0
    assert mill.files() == undisturbed


@pytest.mark.parametrize("leave", [0, 8, 24, 48, 72, 104])
def test_a_disk_of_the_output_with_next_to_no_room(
    mill: Mill, small_disk: Path, undisturbed: dict[str, bytes], leave: int
) -> None:
    mill.write(BUILD)
    dist = small_disk / "dist"
    ballast = fill(small_disk, leave)
    done = mill.run("build", "--output", str(dist))
    assert done.code in (0, 1)
    if done.code:
        assert os.strerror(errno.ENOSPC) in told(done)
    assert done.code == 1 or leave > 48
    assert_nothing_half_made(mill, dist=dist)
    assert_only_whole(dist, undisturbed)
    ballast.unlink()
    assert mill.run("build", "--output", str(dist)).code == 0
    assert mill.files("disk/dist") == undisturbed


def test_a_full_disk_leaves_the_artifacts_that_were_there(mill: Mill, small_disk: Path) -> None:
    mill.write(BUILD)
    dist = str(small_disk / "dist")
    assert mill.run("build", "--output", dist).code == 0
    before = mill.files("disk/dist")
    ballast = fill(small_disk, 4)
    mill.write(with_options("repeat = 2"))
    done = mill.run("build", "plain", "--output", dist)
    assert (done.code, os.strerror(errno.ENOSPC) in told(done)) == (1, True)
    ballast.unlink()
    assert mill.files("disk/dist") == before


@pytest.mark.parametrize("what", ["store", "dist", "."])
def test_a_read_only_mount_is_named(mill: Mill, undisturbed: dict[str, bytes], what: str) -> None:
    mill.write(BUILD)
    folder = mill.folder / what
    folder.mkdir(exist_ok=True)
    for name in ("store", "dist"):
        (mill.folder / name).mkdir(exist_ok=True)
    with disks.read_only(folder):
        done = mill.run("build")
        assert done.code == 1
        assert os.strerror(errno.EROFS) in told(done)
        assert str(folder) in told(done)
    assert_nothing_half_made(mill)
    assert mill.files() == {}
    assert mill.run("build").code == 0
    assert mill.files() == undisturbed


def test_a_store_that_became_read_only(mill: Mill, undisturbed: dict[str, bytes]) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    mill.write(with_options("repeat = 2"))
    with disks.read_only(mill.folder / "store"):
        done = mill.run("build")
    assert done.code == 1
    assert os.strerror(errno.EROFS) in told(done)
    assert mill.files() == undisturbed


def test_a_build_folder_on_a_read_only_mount_builds_elsewhere(mill: Mill, undisturbed: dict[str, bytes]) -> None:
    mill.write(BUILD)
    assert mill.run("lock").code == 0
    (mill.folder / "store").mkdir(exist_ok=True)
    elsewhere = mill.folder.with_name(f"{mill.folder.name}-elsewhere")
    with disks.read_only(mill.folder):
        done = mill.run("build", "--locked", "--store", str(elsewhere / "s"), "--output", str(elsewhere / "dist"))
    assert done.code == 0, done.err
    assert Mill(python=mill.python, folder=elsewhere).files() == undisturbed


def test_a_small_disk_is_found_by_doctor_with_what_makes_room(mill: Mill, small_disk: Path) -> None:
    done = mill.run("doctor", "--quick", "--json", "--store", str(small_disk / "store"))
    (store,) = (item for item in done.json()["findings"] if item["name"] == "store")
    assert (done.code, store["state"], store["mend"]) == (1, "bad", "modelmill cache prune --keep-last 1")
    assert store["said"] == f"{small_disk / 'store'}: 0.0 GiB free"
