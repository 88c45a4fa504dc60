"""One step, run as the engine runs it, in surroundings that a test chooses."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.decode import decode
from modelmill.errors import ConvertError
from modelmill.execute.environment import environment
from modelmill.step import encode_job, find
from modelmill.testing import watch
from modelmill.testing.toolchains import interpreter
from modelmill.types import Job, Limits

_WATCHED = Path(watch.__file__).read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What surrounds a step and may not influence a byte of its result."""

    cwd: Path
    environment: Mapping[str, str]
    umask: int = 0o022


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step ended.

    `event` is `done`, `refused` (ConvertError, told in `message`), `raised` (anything else), `died`, `exited` or
    `hung`. `strays` are the paths outside its folders that it wrote to.
    """

    event: str
    message: str
    log: str
    peak_memory: int
    strays: tuple[str, ...]


def run_step(
    module: str,
    kind: str,
    name: str,
    job: Job[Any],
    *,
    surroundings: Surroundings | None = None,
    timeout: float = 300,
    held: tuple[int, ...] = (),
) -> Outcome:
    """Run the record `name` that `module` offers on a job, in a child process as the engine starts it.

    `job.limits.scratch` must exist; the step's log and a list of what it wrote elsewhere are left beside it.
    The descriptors in `held`, such as a lock's, stay open as long as anything of the step lives.
    """
    scratch = job.limits.scratch
    around = surroundings or Surroundings(cwd=scratch, environment={})
    log, strays = scratch.with_name(scratch.name + ".log"), scratch.with_name(scratch.name + ".strays")
    reader, writer = os.pipe()
    allowed = os.pathsep.join([str(job.out.resolve()), str(scratch.resolve())])
    python = interpreter(module, kind, name, scratch.with_name(scratch.name + ".code"))
    path = os.pathsep.join(entry for entry in sys.path if entry) if python.code is None else str(python.code)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python.python), "-P", "-c", _WATCHED, str(strays), allowed, str(writer)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=around.cwd,
            env={
                **environment(os.environ, scratch, job.limits.threads, python),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": path,
                **around.environment,
            },
            pass_fds=(writer, *held),
            start_new_session=True,
            umask=around.umask,
        )
    os.close(writer)
    told = _talk(process, json.dumps(encode_job(module, kind, name, job)).encode() + b"\n", reader, timeout)
    lines = strays.read_text().splitlines() if strays.exists() else []
    outcome: dict[str, Any] = {"event": "hung"} if told is None else json.loads(told or b'{"event": "exited"}')
    return Outcome(
        event=outcome["event"],
        message=f"{outcome['type']}: {outcome['message']}" if "type" in outcome else outcome.get("message", ""),
        log=log.read_text(errors="replace"),
        peak_memory=outcome.get("peak_memory", 0),
        strays=tuple(sorted({found for line in lines if (found := _stray(line))})),
    )


def convert(
    module: str,
    name: str,
    scheme: str,
    source: Path,
    out: Path,
    *,
    kind: str = "converter",
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Make `out` from a model with one converter or quantizer of a plugin; raise ConvertError where that fails.

    So a suite's source can come from another record: a quantizer's from the converter before it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "scratch").mkdir()
        job = Job(
            source=source,
            inputs={},
            out=out,
            scheme=scheme,
            options=decode(find(module, kind, name).options, options or {}),
            hardware=None,
            limits=Limits(scratch=Path(scratch) / "scratch"),
        )
        outcome = run_step(module, kind, name, job)
    if outcome.event != "done":
        raise ConvertError(f"{module}: {kind} {name}: {outcome.event}: {outcome.message}\n{outcome.log}")
    return out


def _stray(line: str) -> str | None:
    """The path that the watch noted; None where it was unsure of the folder, and nothing is there."""
    path = line.removeprefix(watch.UNSURE)
    return path if path == line or os.path.lexists(path) else None


def _talk(process: "subprocess.Popen[bytes]", line: bytes, events: int, timeout: float) -> bytes | None:
    """Give the child its job and return what it tells until it ends; None where it had to be stopped.

    The child lives as long as its standard input is open: closing it ends everything that belongs to the step.
    """
    if process.stdin is None:
        raise ValueError("a step's child has a standard input")
    process.stdin.write(line)
    process.stdin.flush()
    told, end = b"", time.monotonic() + timeout
    try:
        while select.select([events], [], [], max(0, end - time.monotonic()))[0]:
            data = os.read(events, 1 << 16)
            told += data
            if not data:
                return told
        return None
    finally:
        process.stdin.close()
        os.close(events)
        process.wait()
