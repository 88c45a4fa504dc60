"""What a step's child process runs: one job in on standard input, its outcome out on a descriptor of its own.

`python -m modelmill.step EVENTS_FD` reads one line of JSON (see `encode_job`) and forks. The worker runs the
plugin; the process that forked it guards it: when standard input ends, because the engine is gone or wants
the step stopped, every process of the step is killed. When the worker is done, whatever it left running is
killed too, and only then are the files hashed and brought to disk, so that nobody writes behind the digests.
The worker tells its outcome in memory that both share, since the disk may be what it ran out of.
"""

import contextlib
import ctypes
import errno
import importlib
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill.decode import decode, encode
from modelmill.errors import ConvertError
from modelmill.output import digests
from modelmill.tree import tree
from modelmill.types import Hardware, Job, Limits, Lineage, Maker

HOOKS = {"converter": "modelmill_converters", "quantizer": "modelmill_quantizers"}
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 1 << 20
_NOTE_BYTES = 1 << 16
_MESSAGE_CHARACTERS = 10_000
"""Even with every character escaped as six bytes, such a message fits the note."""


class InvalidResultError(Exception):
    """A step's result is not sound by its own format's word: the plugin's fault, not the input's."""


def encode_job(
    module: str,
    kind: str,
    name: str,
    job: Job[Any],
    validate: tuple[str, str] | None = None,
    checker: str | None = None,
) -> dict[str, Any]:
    """A job and the record that it is for, as JSON data for the child.

    `validate` names the module and the format whose owner checks the result; `checker` is the Python that does so
    where it is another than the step's, because the owner's tools are installed there.
    """
    return {
        "validate": validate,
        "checker": checker,
        "module": module,
        "kind": kind,
        "name": name,
        "source": str(job.source),
        "inputs": {key: str(path) for key, path in job.inputs.items()},
        "out": str(job.out),
        "scheme": job.scheme,
        "options": encode(job.options),
        "hardware": None if job.hardware is None else dict(job.hardware.fields),
        "lineage": None if job.lineage is None else {"uri": job.lineage.uri, "revision": job.lineage.revision},
        "limits": {
            "threads": job.limits.threads,
            "memory": job.limits.memory,
            "scratch": str(job.limits.scratch),
            "timeout": job.limits.timeout,
        },
    }


def decode_job(data: Mapping[str, Any]) -> tuple[Maker[Any], Job[Any]]:
    """Find the record that a job is for, in the plugin that offers it, and rebuild the job."""
    maker = find(data["module"], data["kind"], data["name"])
    limits = data["limits"]
    job = Job(
        source=Path(data["source"]),
        inputs={key: Path(path) for key, path in data["inputs"].items()},
        out=Path(data["out"]),
        scheme=data["scheme"],
        options=decode(maker.options, data["options"]),
        hardware=None if data["hardware"] is None else Hardware(fields=data["hardware"]),
        lineage=None if data["lineage"] is None else Lineage(**data["lineage"]),
        limits=Limits(
            threads=limits["threads"],
            memory=limits["memory"],
            scratch=Path(limits["scratch"]),
            timeout=limits["timeout"],
        ),
    )
    return maker, job


def find(module: str, kind: str, name: str) -> Maker[Any]:
    """The record of this name that a plugin's module offers."""
    offers = getattr(importlib.import_module(module), HOOKS[kind])()
    maker: Maker[Any]
    for maker in offers:
        if maker.name == name:
            return maker
    raise LookupError(f"{module} offers no {kind} {name!r}")


def _check(owner: tuple[str, str], out: Path, checker: str | None) -> None:
    """Have the format's owner check a result; raise InvalidResultError with what it says."""
    if checker is None:
        validate(owner, out)
        return
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [checker, "-P", "-c", _CHECK, *owner, str(out)]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise InvalidResultError(done.stdout.decode(errors="replace") or f"its check ended with {done.returncode}")


_CHECK = """
import pathlib, sys
from modelmill.step import InvalidResultError, validate
try:
    validate((sys.argv[1], sys.argv[2]), pathlib.Path(sys.argv[3]))
except InvalidResultError as error:
    sys.exit(print(error, end="", flush=True) or 1)
"""


def validate(owner: tuple[str, str], out: Path) -> None:
    """Check a result as the owner (module, format) of its format does. InvalidResultError where it is not sound."""
    module, name = owner
    for record in importlib.import_module(module).modelmill_formats():
        if record.name == name:
            try:
                record.validate(out)
            except ConvertError as error:
                raise InvalidResultError(str(error)) from error


def main() -> None:
    """Run one job; the exit status is 0 whenever the outcome was delivered."""
    events = int(sys.argv[1])
    os.set_inheritable(events, False)  # noqa: FBT003
    line = _first_line(0)
    if not line.endswith(b"\n"):
        return
    data = json.loads(line)
    scratch = Path(data["limits"]["scratch"])
    _linux_process_control(_PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else _pipe()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    note = mmap.mmap(-1, _NOTE_BYTES)
    worker = os.fork()
    if worker == 0:
        os.close(events)
        _work(data, note)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(worker, worker)  # the worker does so too: whoever is first, before anybody kills the group
    started = time.monotonic()
    ended = _guard(worker, wake_read)
    seconds = time.monotonic() - started
    _kill_rest(worker)
    if ended is not None:
        status, usage = ended
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        outcome = _outcome(data, scratch, status, note)
        _deliver(events, {**outcome, "seconds": round(seconds, 3), "peak_memory": peak})


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _first_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (data := os.read(descriptor, _CHUNK)):
        line += data
    return line


def _work(data: Mapping[str, Any], note: mmap.mmap) -> None:
    """The worker: never returns."""
    code = 1
    outcome: dict[str, Any] = {}
    try:
        os.setpgid(0, 0)
        _die_first()
        _linux_process_control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        maker, job = decode_job(data)
        maker.run(job)
        if data["validate"] is not None and any(job.out.iterdir()):
            _check(data["validate"], job.out, data.get("checker"))
        outcome = {"event": "ran"}
        code = 0
    except ConvertError as error:
        outcome = {"event": "refused", "message": str(error)[:_MESSAGE_CHARACTERS]}
        code = 0
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the engine says whose it was
        outcome = _raised(error)
        code = 0
        with contextlib.suppress(OSError, MemoryError):  # the log's disk may be full
            traceback.print_exc()
    finally:
        if code == 0:
            note[:] = json.dumps(outcome).encode().ljust(_NOTE_BYTES)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def _raised(error: BaseException) -> dict[str, Any]:
    """What a plugin raised, and whether the machine was at fault: out of `memory`, or of room on its `disk`."""
    lacks = None
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        lacks = "memory"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        lacks = "disk"
    message = str(error)[:_MESSAGE_CHARACTERS]
    return {"event": "raised", "type": type(error).__name__, "message": message, "lacks": lacks}


def _die_first() -> None:
    """When memory runs out, the kernel shall take the worker: not the guard or the engine, who tell of it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _guard(worker: int, wake: int) -> tuple[int, resource.struct_rusage] | None:
    """Wait for the worker and return its wait status and usage; or, when standard input ends first, kill it: None."""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if 0 in ready and not os.read(0, _CHUNK):
            _kill_group(worker)
            os.waitpid(worker, 0)
            return None
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, _CHUNK)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == worker:
                return status, usage
            if pid == 0:
                break


def _kill_group(worker: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)


def _kill_rest(worker: int) -> None:
    """Kill what the worker left behind: its process group and, on Linux, whatever fell to us as subreaper."""
    _kill_group(worker)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        with contextlib.suppress(OSError):
            for pid in children.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


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
        return _raised(error)
    return {"event": "done", "tree": [encode(file) for file in files]}


def _deliver(events: int, outcome: Mapping[str, Any]) -> None:
    with open(events, "wb", buffering=0) as file:
        file.write(json.dumps(outcome).encode() + b"\n")


def _linux_process_control(option: int, value: int) -> None:
    """prctl(2): only Linux has it; elsewhere the guard alone watches over the worker."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
