"""SIGKILL at random instants, one after the other over one store: of the engine alone, and of its process group."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from .conftest import Mill, with_options
from .test_faults import running_steps, store_is_clean

KILLS = int(os.environ.get("MODELMILL_TEST_KILLS", "30"))
"""How many; the long run is MODELMILL_TEST_KILLS=200."""

SLOW = with_options("megabytes = 24")
TEXTS = ("to be or not to be\n", "to do or not to do\n", "to see or not to see\n")
"""What the source holds in turn, so that every build has work to do in a store that never goes."""


@pytest.mark.kills
def test_after_a_kill_at_any_instant_the_next_build_is_as_if_nothing_had_been(
    mill: Mill, record_property: Callable[[str, object], None]
) -> None:
    mill.write(SLOW)
    undisturbed, length = {}, 0.0
    for text in TEXTS:
        undisturbed[text], length = build_in_peace(mill, text)
    seed = time.time_ns()
    chance = random.Random(seed)  # noqa: S311 - instants, not secrets
    interrupted = 0
    for number in range(KILLS):
        text = TEXTS[number % len(TEXTS)]
        say(mill, text)
        interrupted += kill_a_build(mill, chance.uniform(0.05, length), group=number % 2 == 1)
        done = mill.run("build")
        assert done.code == 0, (seed, number, done.err)
        assert mill.files() == undisturbed[text], (seed, number)
        assert store_is_clean(mill), (seed, number)
        assert not running_steps(mill), (seed, number)
        assert mill.run("cache", "prune", "--keep-last", "1").code == 0, (seed, number)
    assert mill.run("cache", "verify").code == 0, seed
    record_property("builds killed at random instants, over one store", KILLS)
    record_property("of them before they had ended", interrupted)
    assert interrupted > KILLS // 3


def say(mill: Mill, text: str) -> None:
    (mill.folder / "words" / "words.txt").write_text(text)


def build_in_peace(mill: Mill, text: str) -> tuple[dict[str, bytes], float]:
    """What a build of this text gives in a store of its own, and how long it takes."""
    say(mill, text)
    started = time.monotonic()
    assert mill.run("build", "--store", "peace").code == 0
    length = time.monotonic() - started
    files = mill.files()
    shutil.rmtree(mill.folder / "peace")
    shutil.rmtree(mill.folder / "dist")
    return files, length


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
