"""SIGKILL at random instants: of the engine alone, and of its whole process group."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from .conftest import BUILD, Mill
from .test_faults import running_steps, store_is_clean

KILLS = int(os.environ.get("MODELMILL_TEST_KILLS", "30"))
"""How many; the long run is MODELMILL_TEST_KILLS=200."""

SLOW = BUILD.replace('format = "loud"', 'format = "loud"\noptions = { megabytes = 24 }')


@pytest.mark.kills
def test_after_a_kill_at_any_instant_the_next_build_is_as_if_nothing_had_been(
    mill: Mill, record_property: Callable[[str, object], None]
) -> None:
    mill.write(SLOW)
    started = time.monotonic()
    assert mill.run("build").code == 0
    length = time.monotonic() - started
    undisturbed = mill.files()
    seed = time.time_ns()
    chance = random.Random(seed)  # noqa: S311 - instants, not secrets
    interrupted = 0
    for number in range(KILLS):
        shutil.rmtree(mill.folder / "store")
        shutil.rmtree(mill.folder / "dist")
        interrupted += kill_a_build(mill, chance.uniform(0.05, length), group=number % 2 == 1)
        done = mill.run("build")
        assert done.code == 0, (seed, number, done.err)
        assert mill.files() == undisturbed, (seed, number)
        assert store_is_clean(mill), (seed, number)
        assert not running_steps(mill), (seed, number)
    record_property("builds killed at random instants", KILLS)
    record_property("of them before they had ended", interrupted)
    assert interrupted > KILLS // 3


def kill_a_build(mill: Mill, delay: float, *, group: bool) -> bool:
    """Start a build, kill it after this many seconds; say whether it was still running."""
    process = subprocess.Popen(
        mill.command("build"),
        cwd=mill.folder,
        env=mill.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(delay)
    running = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    return running
