"""A step's child process: one job in on standard input, its outcome out on a descriptor of its own.

`python -m modelmill.step EVENTS_FD` reads one line of JSON (see `encode_job`) and forks. The worker runs the
plugin; the process that forked it guards it: when standard input ends, because the engine is gone or wants
the step stopped, every process of the step is killed. When the worker is done, whatever it left running is
killed too, and only then are the files hashed and brought to disk, so that nobody writes behind the digests.
The worker tells its outcome in memory that both share, since the disk may be what it ran out of.
"""

import contextlib
import json
import mmap
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill.decode import encode
from modelmill.errors import ConvertError
from modelmill.output import digests
from modelmill.step.processes import CHUNK, adopt_orphans, guard, kill_rest, wake_on_children
from modelmill.step.worker import NOTE_BYTES, raised, work
from modelmill.tree import tree


def main() -> None:
    """Run one job; the exit status is 0 whenever the outcome was delivered."""
    events = int(sys.argv[1])
    os.set_inheritable(events, False)  # noqa: FBT003
    line = _first_line(0)
    if not line.endswith(b"\n"):
        return
    data = json.loads(line)
    scratch = Path(data["limits"]["scratch"])
    adopt_orphans()
    wake = wake_on_children()
    note = mmap.mmap(-1, NOTE_BYTES)
    worker = os.fork()
    if worker == 0:
        os.close(events)
        work(data, note)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(worker, worker)  # the worker does so too: whoever is first, before anybody kills the group
    started = time.monotonic()
    ended = guard(worker, wake)
    seconds = time.monotonic() - started
    kill_rest(worker)
    if ended is not None:
        status, usage = ended
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        outcome = _outcome(data, scratch, status, note)
        _deliver(events, {**outcome, "seconds": round(seconds, 3), "peak_memory": peak})


def _first_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (data := os.read(descriptor, CHUNK)):
        line += data
    return line


def _outcome(data: Mapping[str, Any], scratch: Path, status: int, note: mmap.mmap) -> dict[str, Any]:
    if os.WIFSIGNALED(status):
        return {"event": "died", "signal": os.WTERMSIG(status)}
    try:
        outcome: dict[str, Any] = json.loads(note[:])
    except ValueError:
        return {"event": "exited", "status": os.waitstatus_to_exitcode(status)}
    if outcome["event"] != "ran":
        return outcome
    out = Path(data["out"])
    try:
        files = tree(out, digests(scratch, out))
    except (ConvertError, OSError) as error:
        return raised(error)
    return {"event": "done", "tree": [encode(file) for file in files]}


def _deliver(events: int, outcome: Mapping[str, Any]) -> None:
    with open(events, "wb", buffering=0) as file:
        file.write(json.dumps(outcome).encode() + b"\n")


if __name__ == "__main__":
    main()
