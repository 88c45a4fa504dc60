"""A step on its way into a store, killed at a chosen instant, and what is found there afterwards."""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from modelmill.output import digests
from modelmill.step import decode_job, encode_job
from modelmill.store import Store
from modelmill.testing.bench import Bench
from modelmill.testing.steps import run_step
from modelmill.tree import tree


def kill_a_build(bench: Bench, scheme: str, store: Path, delay: float) -> None:
    """Have a process run a step and store its result; kill it so many seconds after the step's start."""
    job = encode_job(bench.module, bench.kind, bench.maker.name, bench.job(scheme))
    process = subprocess.Popen(
        [sys.executable, "-c", "from modelmill.testing.kills import build; build()", store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise ValueError("the build has a standard input and output")
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    process.stdout.readline()
    time.sleep(delay)
    process.kill()
    _, errors = process.communicate()
    if process.returncode > 0:
        pytest.fail(f"{bench}: {scheme}: {errors}")


def build() -> None:
    """What the engine does with a step: run it in a locked folder of the store, and then keep its result."""
    store, data = Store(Path(sys.argv[1])), json.loads(sys.stdin.readline())
    _, job = decode_job(data)
    workspace = store.workspace("killed")
    limits = replace(job.limits, scratch=workspace.scratch)
    job = replace(job, out=workspace.out, limits=limits)
    print(flush=True)  # noqa: T201 - from now on we may be killed
    outcome = run_step(data["module"], data["kind"], data["name"], job, held=(workspace.lock.descriptor,))
    if outcome.event != "done":
        sys.exit(f"{outcome.event} {outcome.message}\n{outcome.log}")
    store.add("killed", job.out, tree(job.out, digests(limits.scratch, job.out)), {})
    workspace.remove()


def leftovers(store: Path, patience: float) -> list[str]:
    """What a sweep does not clear away within so many seconds, and the blobs that are not what their names say."""
    end = time.monotonic() + patience
    while Store(store).sweep() >= 0 and list((store / "tmp").iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    blobs = [
        path
        for path in (store / "blobs/sha256").iterdir()
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]
    return sorted(path.relative_to(store).as_posix() for path in [*(store / "tmp").iterdir(), *blobs])


def results(store: Path) -> list[dict[str, str]]:
    """The sha256 of each file of each result in a store, by path."""
    found = [Store(store).result(path.stem) for path in sorted((store / "steps").glob("*.json"))]
    return [{file.path: file.sha256 for file in result.files} if result else {} for result in found]
