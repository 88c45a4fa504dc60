"""A step → the job that its child is given; the child's outcome → a result in the store, or an error."""

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelmill.decode import decode
from modelmill.errors import ConvertError, ModelmillError, SourceError, StepError
from modelmill.execute.child import Child
from modelmill.execute.code import lay_out
from modelmill.execute.environment import Interpreter
from modelmill.lock import Resolver
from modelmill.lock.records import LockedFile, matching
from modelmill.plan import Leaf, Step
from modelmill.plan.records import Origin
from modelmill.step import encode_job
from modelmill.store import Result, Store, Workspace
from modelmill.toolchains.environments import python_of
from modelmill.tree import OutFile
from modelmill.types import Job, Limits, Toolchain


def prepare(
    step: Step,
    results: Mapping[str, Result],
    store: Store,
    resolver: Resolver,
    workspace: Workspace,
    threads: int,
    timeout: float | None,
) -> dict[str, Any]:
    """Lay out a step's inputs in its workspace and describe the job as JSON data."""

    def show(origin: Origin, name: str, patterns: tuple[str, ...]) -> Any:
        folder = workspace.folder / "in" / name
        if isinstance(origin, Leaf):
            resolver.bring(origin.source, origin.files)
            resolver.lay_out(origin.source, origin.files, folder)
        else:
            store.show(_reads(results[origin].files, patterns), folder)
        return folder

    record = step.offer.record
    job = Job(
        source=show(step.source, "source", record.reads),
        inputs={name: show(item, f"input-{name}", record.inputs[name].reads) for name, item in step.inputs.items()},
        out=workspace.out,
        scheme=step.scheme,
        options=step.options,
        hardware=step.hardware,
        lineage=step.lineage,
        limits=Limits(threads=threads, memory=step.estimate.peak_memory, scratch=workspace.scratch, timeout=timeout),
    )
    checker = None if record.toolchain is None else sys.executable
    return encode_job(step.offer.plugin.module, step.kind, record.name, job, step.validator, checker)


def _reads(files: tuple[OutFile, ...], patterns: tuple[str, ...]) -> list[OutFile]:
    locked = [LockedFile(path=file.path, size=file.size, sha256=file.sha256) for file in files]
    kept = {file.path for file in matching(locked, patterns)}
    return [file for file in files if file.path in kept]


def interpreter(step: Step, environment: Callable[[Toolchain], Path], workspace: Workspace) -> Interpreter:
    """The Python that runs a step, with the code that it sees laid out in the step's workspace."""
    toolchain, plugin = step.offer.record.toolchain, step.offer.plugin
    if toolchain is None:
        return Interpreter()
    code = workspace.folder / "code"
    lay_out(code, plugin.module, [plugin.distribution])
    return Interpreter(python=python_of(environment(toolchain)), code=code)


def take(child: Child, outcome: Mapping[str, Any], store: Store, resolver: Resolver, timeout: float | None) -> Result:
    """Store what a child made; raise StepError, ConvertError or SourceError where that cannot be."""
    step = child.step
    if outcome["event"] != "done":
        raise _failure(child, outcome, timeout)
    files = tuple(decode(OutFile, item) for item in outcome["tree"])
    if not files:
        raise StepError(f"{_who(step)} left no file behind; log: {child.log}")
    for leaf in _leaves(step):
        changed = resolver.changed(leaf.source, leaf.files)
        if changed is not None:
            raise SourceError(
                f"source {leaf.source.locked.name!r}: {changed} changed while {_who(step)} read it, so its result is "
                "thrown away; build again when the file is at rest"
            )
    return store.add(step.key, child.workspace.out, files, step.components)


def _leaves(step: Step) -> list[Leaf]:
    return [origin for origin in (step.source, *step.inputs.values()) if isinstance(origin, Leaf)]


def _who(step: Step) -> str:
    return f"{step.title} ({step.offer.plugin})"


def _failure(child: Child, outcome: Mapping[str, Any], timeout: float | None) -> ModelmillError:
    """What a step's end that is no result means, in one sentence."""
    who, log = _who(child.step), child.log
    if child.timed_out:
        return StepError(f"{who} ran longer than {timeout:g} s and was stopped; log: {log}")
    match outcome:
        case {"event": "refused", "message": message}:
            return ConvertError(f"{child.step.title}: {message}")
        case {"event": "raised", "lacks": "memory"}:
            return StepError(f"{who} ran out of memory; give it more, or run fewer --jobs; log: {log}")
        case {"event": "raised", "lacks": "disk"}:
            return StepError(
                f"{who} ran out of room on the store's disk; make room, such as by `modelmill cache gc`, or "
                f"name another place with --store; log: {log}"
            )
        case {"event": "raised", "type": kind, "message": message}:
            return StepError(f"{who} failed: {kind}: {message}; log: {log}")
        case {"event": "died", "signal": number}:
            return StepError(f"{who} {_death(number)}; log: {log}")
        case {"event": "exited", "status": status}:
            return StepError(f"{who} ended itself with status {status} and no result; log: {log}")
        case _:
            return StepError(f"{who} was lost: its process ended without a word; log: {log}")


def _death(number: int) -> str:
    if number == signal.SIGKILL:
        return "was killed (SIGKILL): out of memory, most likely; give it more, or run fewer --jobs"
    try:
        return f"crashed in native code ({signal.Signals(number).name})"
    except ValueError:
        return f"was killed by signal {number}"
