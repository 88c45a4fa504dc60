"""The processes of a step: how the one that guards the work waits for it, and kills what is left of it."""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
CHUNK = 1 << 20


def adopt_orphans() -> None:
    """Have every process that the step leaves behind fall to this one."""
    _linux_process_control(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have this process killed when the one that forked it is gone."""
    _linux_process_control(_PR_SET_PDEATHSIG, signal.SIGKILL)


def die_first() -> None:
    """When memory runs out, the kernel shall take the worker: not the guard or the engine, who tell of it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def wake_on_children() -> int:
    """A descriptor that is readable whenever a child has ended."""
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else _pipe()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    return wake_read


def forget_children() -> None:
    """Undo `wake_on_children` in a process that was forked."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def guard(worker: int, wake: int) -> tuple[int, resource.struct_rusage] | None:
    """Wait for the worker and return its wait status and usage; or, when standard input ends first, kill it: None."""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if 0 in ready and not os.read(0, CHUNK):
            _kill_group(worker)
            os.waitpid(worker, 0)
            return None
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, CHUNK)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == worker:
                return status, usage
            if pid == 0:
                break


def kill_rest(worker: int) -> None:
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


def _kill_group(worker: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _linux_process_control(option: int, value: int) -> None:
    """prctl(2): only Linux has it; elsewhere the guard alone watches over the worker."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
