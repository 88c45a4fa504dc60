"""What can go wrong with a step, each for real: one sentence, the right exit code, nothing half-made."""

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import BUILD, Done, Mill, told, with_options

FAULTS = {
    "raise": (1, "shout upper (letters 1.0) failed: ZeroDivisionError: division by zero; log: "),
    "refuse": (2, "shout upper: words.txt: holds no words"),
    "crash": (1, "shout upper (letters 1.0) crashed in native code (SIGSEGV); log: "),
    "nothing": (1, "shout upper (letters 1.0) left no file behind; log: "),
    "exit": (1, "shout upper (letters 1.0) ended itself with status 7 and no result; log: "),
    "link": (1, "link: the step left something that is not a regular file"),
    "unsound": (1, "InvalidResultError: loud.txt: is not loud"),
}


def faulty(fault: str) -> str:
    return with_options(f'fault = "{fault}"')


def store_is_clean(mill: Mill) -> bool:
    return not list((mill.folder / "store" / "tmp").iterdir())


@pytest.mark.fault
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_step_is_one_sentence(mill: Mill, fault: str) -> None:
    code, sentence = FAULTS[fault]
    mill.write(faulty(fault))
    done = mill.run("build")
    assert done.code == code
    assert sentence in told(done)
    assert not (mill.folder / "dist").exists()
    assert store_is_clean(mill)
    mill.write(BUILD)
    assert mill.run("build").code == 0


@pytest.mark.fault
def test_a_hanging_step_is_stopped_at_its_limit(mill: Mill) -> None:
    mill.write(faulty("hang"))
    done = mill.run("build", "plain", "--timeout", "1.5")
    assert done.code == 1
    assert "shout upper (letters 1.0) ran longer than 1.5 s and was stopped; log: " in told(done)
    assert store_is_clean(mill)


@pytest.mark.fault
def test_garbage_on_standard_output_goes_to_the_log(mill: Mill) -> None:
    mill.write(faulty("garbage"))
    done = mill.run("build", "plain")
    assert done.code == 0
    assert "\x1b" not in done.err
    (log,) = (mill.folder / "store" / "logs").iterdir()
    assert b"not a traceback" in log.read_bytes()


@pytest.mark.fault
def test_a_grandchild_that_goes_on_writing_is_killed_first(mill: Mill) -> None:
    mill.write(faulty("orphan"))
    assert mill.run("build", "plain").code == 0
    pid, diary = int((mill.folder / "orphan.pid").read_text()), mill.folder / "orphan.diary"
    assert not Path(f"/proc/{pid}").exists()
    before, written = mill.files("store"), diary.stat().st_size
    time.sleep(0.3)
    assert (mill.files("store"), diary.stat().st_size) == (before, written)
    assert "is up to date\n" in mill.run("build", "plain").out


@pytest.mark.fault
def test_after_a_failure_independent_targets_are_built_with_keep_going(mill: Mill) -> None:
    mill.write(BUILD.replace('scheme = "upper"', 'scheme = "upper"\noptions = { fault = "raise" }'))
    done = mill.run("build", "--keep-going")
    assert done.code == 1
    assert (mill.folder / "dist/words/1.0/tiny").exists()
    assert not (mill.folder / "dist/words/1.0/plain").exists()


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_the_next_build_goes_on(mill: Mill, number: signal.Signals) -> None:
    mill.write(faulty("hang"))
    process = subprocess.Popen(
        mill.command("build", "plain"), cwd=mill.folder, env=mill.environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for_a_step(mill)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; finished steps are kept" in err
    assert "Traceback" not in err
    assert store_is_clean(mill)
    assert not running_steps(mill)


@pytest.mark.fault
def test_a_killed_engine_leaves_no_child_behind(mill: Mill) -> None:
    mill.write(faulty("hang"))
    process = subprocess.Popen(
        mill.command("build", "plain"), cwd=mill.folder, env=mill.environment(), stderr=subprocess.DEVNULL
    )
    wait_for_a_step(mill)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while running_steps(mill) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running_steps(mill)
    mill.write(BUILD)
    assert mill.run("build").code == 0
    assert store_is_clean(mill)


@pytest.mark.fault
def test_a_source_that_changes_under_a_step_gives_no_result(mill: Mill) -> None:
    mill.write(faulty("sleep"))
    process = subprocess.Popen(
        mill.command("build", "plain"), cwd=mill.folder, env=mill.environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for_a_step(mill)
    (mill.folder / "words" / "words.txt").write_text("changed\n")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "words.txt changed while shout upper (letters 1.0) read it" in told(Done(process.returncode, "", err))
    assert not (mill.folder / "dist").exists()


@pytest.mark.fault
def test_a_corrupt_blob_is_made_again_with_a_warning(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    good = mill.files()
    for blob in (mill.folder / "store" / "blobs" / "sha256").iterdir():
        blob.chmod(0o644)
        blob.write_bytes(b"rotten")
    (mill.folder / "dist" / "words" / "1.0" / "plain" / "loud.txt").unlink()
    done = mill.run("build")
    assert done.code == 0
    assert "changed since it was stored" in done.err
    assert mill.files() == good


@pytest.mark.fault
def test_a_corrupt_record_is_a_miss(mill: Mill) -> None:
    mill.write(BUILD)
    mill.run("build")
    good = mill.files()
    for record in (mill.folder / "store" / "steps").iterdir():
        record.write_text("{]")
    done = mill.run("build")
    assert (done.code, mill.files()) == (0, good)
    assert "not readable, so the step is run again" in done.err


@pytest.mark.fault
def test_two_builds_at_once_run_each_step_once(mill: Mill) -> None:
    mill.write(faulty("sleep"))
    both = [
        subprocess.Popen(
            mill.command("build"), cwd=mill.folder, env=mill.environment(), stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    begun: list[str] = []
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        begun += Done(process.returncode, "", err).begun
    assert sorted(begun) == ["shorten short", "shorten tiny", "shout upper"]
    assert mill.files()["words/1.0/plain/loud.txt"] == b"TO BE OR NOT TO BE\n"
    assert store_is_clean(mill)


@pytest.mark.fault
def test_a_store_that_cannot_be_written_is_one_sentence(mill: Mill) -> None:
    mill.write(BUILD)
    (mill.folder / "file").touch()
    done = mill.run("build", "--store", "file/store")
    assert done.code == 1
    assert "the store cannot be made there" in done.err


def test_a_step_that_cannot_fit_is_refused_with_figures(mill: Mill) -> None:
    mill.write(BUILD)
    done = mill.run("build", "--memory", "10M")
    assert done.code == 2
    assert "needs about 30 MiB of memory at its peak, and steps may use 10 MiB" in done.err


def wait_for_a_step(mill: Mill) -> None:
    deadline = time.monotonic() + 20
    while not running_steps(mill):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)


def running_steps(mill: Mill) -> list[int]:
    """Processes that work for this test's store: their working folder lies in it."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if (process / "cwd").readlink().is_relative_to(mill.folder / "store"):
                    found.append(int(process.name))
    return found
