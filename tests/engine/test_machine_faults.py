"""What can go wrong with a machine, each for real: memory, clocks, other builds, forgery, strange paths, signals."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import BUILD, Done, Mill, assert_nothing_half_made, assert_only_whole, told
from .test_faults import faulty, running_steps

MEMORY_V1 = Path("/sys/fs/cgroup/memory")
MEMORY_V2 = Path("/sys/fs/cgroup")
FAR = 4_102_444_800
"""The year 2100 in Unix seconds."""


@pytest.mark.fault
def test_a_source_from_the_future_is_still_looked_at(mill: Mill, undisturbed: dict[str, bytes]) -> None:
    mill.write(BUILD)
    words = mill.folder / "words" / "words.txt"
    for text in ("to be or not to be\n", "to do or not to do\n", "to be or not to be\n"):
        words.write_text(text)
        os.utime(words, (FAR, FAR))
        assert mill.run("build").code == 0
        assert mill.files()["words/1.0/plain/loud.txt"] == text.upper().encode()
    assert mill.files() == undisturbed


@pytest.mark.fault
@pytest.mark.parametrize("moment", [0, FAR])
def test_a_clock_that_jumped_between_builds_changes_no_artifact(
    mill: Mill, undisturbed: dict[str, bytes], moment: int
) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    for root in ("store", "dist", "words"):
        for path in [*(mill.folder / root).rglob("*"), mill.folder / "build.toml", mill.folder / "build.lock"]:
            os.utime(path, (moment, moment))
    done = mill.run("build")
    assert (done.code, mill.files()) == (0, undisturbed)
    assert_nothing_half_made(mill)


@pytest.mark.fault
def test_a_step_that_meets_its_memory_limit(mill: Mill, undisturbed: dict[str, bytes]) -> None:
    mill.write(faulty("limited"))
    done = mill.run("build")
    assert done.code == 1
    assert "shout upper (letters 1.0) ran out of memory; give it more, or run fewer --jobs; log: " in told(done)
    assert not (mill.folder / "dist").exists()
    assert_nothing_half_made(mill)
    mill.write(BUILD)
    assert mill.run("build").code == 0
    assert mill.files() == undisturbed


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A control group of 200 MiB inside the one that this process is in."""
    version, parent = own_memory_group()
    group = parent / f"modelmill-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs the right to make a control group: {error}")
    try:
        limit = "memory.max" if version == 2 else "memory.limit_in_bytes"
        try:
            (group / limit).write_text(str(200 << 20))
        except OSError as error:
            pytest.skip(f"needs a control group with a memory limit: {error}")
        with contextlib.suppress(OSError):
            (group / "memory.swap.max").write_text("0")
        yield group
    finally:
        group.rmdir()


def run_within(group: Path, mill: Mill, *arguments: str) -> Done:
    """Run a command in a control group."""
    return mill.run(*arguments, within=("sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh"))


def own_memory_group() -> tuple[int, Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError as error:
        pytest.skip(f"needs Linux control groups: {error}")
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return 1, MEMORY_V1 / path.lstrip("/")
    for line in lines:
        if line.startswith("0::"):
            return 2, MEMORY_V2 / line[3:].lstrip("/")
    pytest.skip("needs a control group for memory")


@pytest.mark.fault
def test_a_step_that_the_kernel_kills_for_memory(mill: Mill, small_memory: Path, undisturbed: dict[str, bytes]) -> None:
    mill.write(faulty("devour"))
    done = run_within(small_memory, mill, "build")
    assert done.code == 1, done.err
    assert "shout upper (letters 1.0) was killed (SIGKILL): out of memory, most likely" in told(done)
    assert not (mill.folder / "dist").exists()
    assert_nothing_half_made(mill)
    mill.write(BUILD)
    assert mill.run("build").code == 0
    assert mill.files() == undisturbed


@pytest.mark.fault
def test_builds_of_different_targets_side_by_side_share_a_store(mill: Mill, undisturbed: dict[str, bytes]) -> None:
    mill.write(BUILD)
    builds = [
        subprocess.Popen(
            mill.command("build", target), cwd=mill.folder, env=mill.environment(), stderr=subprocess.PIPE, text=True
        )
        for target in ("plain", "short", "tiny", "plain")
    ]
    for build in builds:
        _, err = build.communicate(timeout=120)
        assert (build.returncode, "Traceback" in err) == (0, False), err
    assert_only_whole(mill.folder / "dist", undisturbed)
    assert_nothing_half_made(mill)
    assert mill.run("build").code == 0
    assert mill.files() == undisturbed


def forge(mill: Mill) -> str:
    """Change a blob's bytes and nothing that its stat tells but ctime; return its name."""
    blob = mill.folder / "store" / "blobs" / "sha256" / hashlib.sha256(b"TO BE OR NOT TO BE\n").hexdigest()
    status = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(b"NOT TO BE OR TO BE\n")
    os.utime(blob, ns=(status.st_atime_ns, status.st_mtime_ns))
    blob.chmod(0o444)
    return blob.name


@pytest.mark.fault
def test_a_blob_with_forged_size_and_time_is_found_when_the_store_is_read_again(
    mill: Mill, undisturbed: dict[str, bytes]
) -> None:
    mill.write(BUILD)
    assert mill.run("build").code == 0
    name = forge(mill)
    done = mill.run("cache", "verify")
    assert done.code == 1
    assert name in done.out + done.err
    shutil.rmtree(mill.folder / "dist")
    assert mill.run("build").code == 0
    assert mill.files() == undisturbed


@pytest.mark.fault
def test_an_artifact_of_a_forged_blob_does_not_verify(mill: Mill) -> None:
    mill.write(BUILD.replace('[sign]\nmode = "none"\n', ""))
    home = {name: str(mill.folder / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    verify = ("verify", "--development-keys", "dist/words/1.0/plain")
    assert mill.run("build", "plain", environment=home).code == 0
    assert mill.run(*verify, environment=home).code == 0
    forge(mill)
    shutil.rmtree(mill.folder / "dist")
    mill.run("build", "plain", environment=home)  # trusts the stat, as documented
    done = mill.run(*verify, environment=home)
    assert done.code == 1
    assert "loud.txt" in done.out + done.err


def test_paths_with_spaces_and_other_alphabets(mill: Mill, undisturbed: dict[str, bytes]) -> None:
    folder = mill.folder / "ein Ordner für 模型 'q' \"d\" $x"
    shutil.copytree(mill.folder / "words", folder / "words")
    strange = Mill(python=mill.python, folder=folder)
    strange.write(BUILD)
    for locale in ({}, {"LC_ALL": "C"}):
        done = strange.run("build", environment=locale)
        assert done.code == 0, done.err
        assert strange.files() == undisturbed
        assert_nothing_half_made(strange)
        shutil.rmtree(folder / "store")
        shutil.rmtree(folder / "dist")


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_lock_leaves_the_old_one(mill: Mill, number: signal.Signals) -> None:
    mill.write(BUILD)
    assert mill.run("lock").code == 0
    lock = mill.folder / "build.lock"
    before = lock.read_bytes()
    with (mill.folder / "words" / "large.bin").open("wb") as file:
        file.truncate(16 << 30)  # no bytes on disk, and many seconds to hash
    process = subprocess.Popen(
        mill.command("lock"), cwd=mill.folder, env=mill.environment(), stderr=subprocess.PIPE, text=True
    )
    wait_until_read(process, "large.bin")
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert "Traceback" not in err
    assert lock.read_bytes() == before
    assert not list(mill.folder.glob(".build.lock*"))
    (mill.folder / "words" / "large.bin").unlink()
    assert mill.run("lock", "--check").code == 0
    assert mill.run("build").code == 0
    assert_nothing_half_made(mill)
    assert not running_steps(mill)


def wait_until_read(process: subprocess.Popen[str], name: str) -> None:
    """Until a process has a file of this name open."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if descriptor.readlink().name == name:
                        return
        time.sleep(0.02)
    pytest.fail(f"{name} was never opened")
