"""What a program takes: seconds by the clock and on processors, and memory; for steps of the gguf plugin and its peers.

Every measurement is of a process of its own, interpreter and imports included.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PARTS = Path(__file__).resolve().parent.parent
_RELAY = """
import os, sys, time
start = time.perf_counter()
to_log = [(os.POSIX_SPAWN_DUP2, 2, 1)]
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=to_log)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""
"""Starts what is measured. The kernel counts a process's memory before it becomes a program too, which is that of
whoever starts it: so nothing large may."""
CALIBRATION = PARTS.parent.parent / "examples" / "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run: seconds by the clock and on processors, and the largest resident set in MB."""

    seconds: float
    cpu: float
    megabytes: float

    def __add__(self, other: "Cost") -> "Cost":
        """One after the other."""
        return Cost(
            seconds=self.seconds + other.seconds,
            cpu=self.cpu + other.cpu,
            megabytes=max(self.megabytes, other.megabytes),
        )


def best(runs: Iterable[Cost]) -> Cost:
    """The least time of several runs, and the most memory."""
    found = list(runs)
    return Cost(
        seconds=min(run.seconds for run in found),
        cpu=min(run.cpu for run in found),
        megabytes=max(run.megabytes for run in found),
    )


def attempt(command: Sequence[str], *, threads: int, folder: Path | None = None) -> tuple[Cost, str | None]:
    """Run a program; its cost by the kernel's account of that one child, and its words where it failed."""
    path = os.pathsep.join([str(PARTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed comes compiled; a checkout is, after one run
    with tempfile.TemporaryFile() as log:
        words = [sys.executable, "-I", "-S", "-c", _RELAY, *command]
        relay = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, check=True)
        seconds, cpu, resident, code = map(float, relay.stdout.split())
        log.seek(0)
        said = log.read().decode(errors="replace")[-2000:] if code else None
    return Cost(seconds=seconds, cpu=cpu, megabytes=resident / (1024 if sys.platform == "linux" else 1024**2)), said


def run(command: Sequence[str], *, threads: int = 1, folder: Path | None = None) -> Cost:
    """Run a program; end this one where that fails."""
    cost, words = attempt(command, threads=threads, folder=folder)
    if words is not None:
        raise SystemExit(f"{' '.join(command)} failed:\n{words}")
    return cost


def words_of(kind: str, source: Path, out: Path, scheme: str, threads: int, *given: str) -> list[str]:
    """The command that runs one step, or llama.cpp's quantizer where the kind is `peer`; see `measured_child`."""
    arguments = [kind, str(source), str(out), scheme, str(threads), *given]
    return [sys.executable, "-m", "gguf_parts.measured_child", *arguments]


def step(kind: str, source: Path, out: Path, scheme: str, threads: int, *given: str) -> Cost:
    """Run one step in a process of its own; what it makes is `out`/model.gguf."""
    return run(words_of(kind, source, out, scheme, threads, *given), threads=threads)


def lossless(checkpoint: Path, out: Path, threads: int) -> Path:
    """The checkpoint as a GGUF file in its own precision."""
    step("convert", checkpoint, out, "", threads)
    return out / "model.gguf"
