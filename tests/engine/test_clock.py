"""A clock that jumps by a year in the middle of a build, in the engine and in its steps: nothing takes notice."""

from pathlib import Path

import pytest

from .conftest import BUILD, PLUGIN, Mill, assert_nothing_half_made, lay_out_alone, told
from .test_faults import faulty

YEAR = 365 * 24 * 3600
JUMPING = r"""
import pathlib
import sys
import time

here = pathlib.Path(__file__).parent
jump, real, real_ns, known = int((here / "jump.txt").read_text()), time.time, time.time_ns, set()

def jumped():
    if not (here / "now").exists():
        return 0
    if not known:
        known.add("that it jumped")
        with (here / "noticed.txt").open("a") as file:
            file.write("step\n" if "modelmill.step" in sys.orig_argv else "engine\n")
    return jump

time.time = lambda: real() + jumped()
time.time_ns = lambda: real_ns() + jumped() * 10**9
"""
"""A clock that is off by so many seconds from the moment when the file `now` is there."""
WATCHED = PLUGIN.read_text().replace(
    "    go_wrong(job.options.fault, job)\n",
    "    Path(__file__).with_name('now').touch()\n"
    "    started = time.time()\n"
    "    time.sleep(0.6)\n"
    "    go_wrong(job.options.fault, job)\n"
    "    del started\n",
)


def of_a_clock(folder: Path, jump: int) -> Mill:
    """A build folder, with an interpreter whose clock jumps while a step runs."""
    mill = lay_out_alone(folder, WATCHED)
    (mill.site / "jumping.py").write_text(JUMPING)
    (mill.site / "jumping.pth").write_text("import jumping\n")
    (mill.site / "jump.txt").write_text(str(jump))
    mill.write(BUILD)
    return mill


@pytest.fixture(scope="module")
def in_time(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the build gives where the clock goes on as it should."""
    mill = of_a_clock(tmp_path_factory.mktemp("in-time"), 0)
    assert mill.run("build").code == 0
    return mill.files()


@pytest.mark.fault
@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_a_clock_that_jumps_by_a_year_during_a_build(tmp_path: Path, in_time: dict[str, bytes], jump: int) -> None:
    mill = of_a_clock(tmp_path, jump)
    done = mill.run("build", "--timeout", "600")
    assert (done.code, mill.files()) == (0, in_time), done.err
    assert {"engine", "step"} <= set((mill.site / "noticed.txt").read_text().split())
    (mill.folder / "words" / "words.txt").write_text("to do\n")
    (mill.site / "now").unlink()
    assert mill.run("build").code == 0
    assert mill.run("cache", "prune", "--keep-last", "1").code == 0
    assert {step["state"] for step in mill.run("plan", "--json").json()["steps"]} <= {"cached", "not needed"}
    assert_nothing_half_made(mill)


@pytest.mark.fault
@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_a_step_has_its_time_whatever_the_clock_does(tmp_path: Path, jump: int) -> None:
    mill = of_a_clock(tmp_path, jump)
    mill.write(faulty("hang"))
    done = mill.run("build", "plain", "--timeout", "2.5")
    assert "ran longer than 2.5 s and was stopped" in told(done)
    assert_nothing_half_made(mill)
