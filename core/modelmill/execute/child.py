"""One running step: its process, its events, its end."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill.execute.environment import Interpreter, environment
from modelmill.plan import Step
from modelmill.store import Lock, Workspace

_GRACE = 5.0


class Child:
    """A step's process from its start to its outcome.

    Its standard input stays open as long as it shall live: when the engine goes, however it goes, the child's
    guard reads the end of it and kills whatever belongs to the step.
    """

    def __init__(
        self, step: Step, job: Mapping[str, Any], workspace: Workspace, lock: Lock, log: Path, interpreter: Interpreter
    ) -> None:
        self.step = step
        self.workspace = workspace
        self.lock = lock
        self.log = log
        self.started = time.monotonic()
        self.timed_out = False
        self._events, writer = os.pipe()
        self._heard = b""
        threads = int(job["limits"]["threads"])
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [str(interpreter.python), "-P", "-m", "modelmill.step", str(writer)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    cwd=workspace.scratch,
                    env=environment(os.environ, workspace.scratch, threads, interpreter),
                    pass_fds=(writer, workspace.lock.descriptor, lock.descriptor),
                    start_new_session=True,
                    umask=0o022,
                )
        finally:
            os.close(writer)
        if self._process.stdin is None:
            raise ValueError("a child has a standard input")
        self._input = self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._input.write(json.dumps(job).encode() + b"\n")
            self._input.flush()

    @property
    def events(self) -> int:
        """The descriptor to wait on: it is readable when `hear` has something to do."""
        return self._events

    def hear(self) -> bool:
        """Read what the child tells; say whether that was all."""
        data = os.read(self._events, 1 << 16)
        self._heard += data
        return not data

    def outcome(self) -> dict[str, Any]:
        """What became of the step, once `hear` has heard all."""
        self.close()
        status = self._process.wait()
        with contextlib.suppress(ValueError):
            told = json.loads(self._heard)
            if isinstance(told, dict) and "event" in told:
                return told
        return {"event": "lost", "status": status}

    def written(self) -> int:
        """Bytes in the step's output folder now."""
        total = 0
        for folder, _, names in os.walk(self.workspace.out):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - polled often
        return total

    def stop(self) -> None:
        """Ask the guard to kill the step: by ending its standard input."""
        with contextlib.suppress(OSError):
            self._input.close()

    def close(self) -> None:
        """Make sure that nothing of the step lives on, and let its descriptors go."""
        self.stop()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._events >= 0:
            os.close(self._events)
            self._events = -1
