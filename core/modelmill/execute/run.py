"""The loop that starts steps when their inputs are there, waits for them, and takes their results."""

import selectors
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelmill.errors import ModelmillError, PlanError, StepError
from modelmill.execute import machine
from modelmill.execute.child import Child
from modelmill.execute.events import Event, Failed, Finished, Progress, Started, Waiting
from modelmill.execute.jobs import interpreter, prepare, take
from modelmill.execute.needs import Work, too_large
from modelmill.lock import Resolver
from modelmill.plan import Plan, Step
from modelmill.store import Lock, Result, Store
from modelmill.types import Toolchain

_POLL = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run, none of which may show in a byte: jobs at once, memory in bytes, seconds a step may take."""

    jobs: int = 0
    memory: int = 0
    timeout: float | None = None
    keep_going: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Results by key, of steps that ran and of those that did not have to; and what failed."""

    results: Mapping[str, Result]
    failures: Mapping[str, ModelmillError]


def execute(
    plan: Plan,
    work: Work,
    store: Store,
    resolver: Resolver,
    settings: Settings,
    listen: Callable[[Event], None],
    environment: Callable[[Toolchain], Path],
) -> Outcome:
    """Run what has to run. An exception (an interrupt, say) stops every child before it goes on its way.

    `environment` has the tool environment of a toolchain, or raises ToolchainError.
    """
    loop = _Loop(
        plan=plan,
        store=store,
        resolver=resolver,
        settings=settings,
        listen=listen,
        environment=environment,
        todo=dict(work.steps),
    )
    loop.results.update(work.results)
    loop.refuse_what_cannot_fit()
    try:
        loop.have_environments()
        loop.run()
    finally:
        loop.stop()
    return Outcome(results=loop.results, failures=loop.failures)


@dataclass(kw_only=True)
class _Loop:
    """The state of one execution; single-threaded: children do the work, and this waits for them."""

    plan: Plan
    store: Store
    resolver: Resolver
    settings: Settings
    listen: Callable[[Event], None]
    environment: Callable[[Toolchain], Path]
    todo: dict[str, Step]
    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, ModelmillError] = field(default_factory=dict)
    running: dict[str, Child] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.jobs = self.settings.jobs or machine.cores()
        self.memory = self.settings.memory or machine.memory()

    def refuse_what_cannot_fit(self) -> None:
        """Refuse, before anything runs, a step that needs more memory than there is."""
        for sentence in too_large(self.todo.values(), self.memory):
            raise PlanError(sentence)

    def have_environments(self) -> None:
        """Make the tool environments that are missing before anything runs: what fails shall fail early."""
        for step in list(self.todo.values()):
            if step.offer.record.toolchain is not None:
                try:
                    self.environment(step.offer.record.toolchain)
                except ModelmillError as error:
                    self._fail(step, error)

    def run(self) -> None:
        """Until nothing is left to do."""
        while self.todo or self.running:
            self._start_what_can()
            if not self.running and not self.todo:
                return
            for key, _ in self.selector.select(_POLL):
                child: Child = key.data
                if child.hear():
                    self.selector.unregister(child.events)
                    self._end(child)
            self._watch()

    def stop(self) -> None:
        """Stop every child, wait until it is gone, and clear up after it."""
        for child in self.running.values():
            child.stop()
        for child in self.running.values():
            child.close()
            child.workspace.remove()
            child.lock.release()
        self.running.clear()
        self.selector.close()
        self.store.index.save()

    def _start_what_can(self) -> None:
        if self.failures and not self.settings.keep_going:
            self.todo.clear()
        for key, step in list(self.todo.items()):
            if any(need in self.failures or self._dropped(need) for need in step.needs()):
                del self.todo[key]
            elif all(need in self.results for need in step.needs()) and self._has_room(step):
                self._start(step)

    def _dropped(self, key: str) -> bool:
        return key not in self.results and key not in self.todo and key not in self.running

    def _has_room(self, step: Step) -> bool:
        if not self.running:
            return True
        used = sum(child.step.estimate.peak_memory for child in self.running.values())
        return len(self.running) < self.jobs and used + step.estimate.peak_memory <= self.memory

    def _start(self, step: Step) -> None:
        lock = self.store.lock(step.key)
        if not lock.acquire():
            if step.key not in self.waiting:
                self.waiting.add(step.key)
                self.listen(Waiting(step=step))
            return
        try:
            if self._reuse(step, lock):
                return
            child = self._spawn(step, lock)
        except ModelmillError as error:
            lock.release()
            self._fail(step, error)
            return
        except OSError as error:
            lock.release()
            self._fail(step, StepError(f"{step.title} cannot be started: {error.strerror}"))
            return
        except BaseException:
            lock.release()
            raise
        del self.todo[step.key]
        self.running[step.key] = child
        self.selector.register(child.events, selectors.EVENT_READ, child)
        self.listen(Started(step=step, log=str(child.log)))

    def _reuse(self, step: Step, lock: Lock) -> bool:
        """Whether another build has made the result since we looked."""
        result = self.store.result(step.key)
        if result is None:
            return False
        lock.release()
        del self.todo[step.key]
        self.results[step.key] = result
        size = sum(file.size for file in result.files)
        self.listen(Finished(step=step, seconds=0.0, peak_memory=0, size=size, reused=True))
        return True

    def _spawn(self, step: Step, lock: Lock) -> Child:
        workspace = self.store.workspace(step.key)
        try:
            _check_disk(step, self.store.root)
            busy = len(self.running) + 1
            ready = sum(1 for item in self.todo.values() if all(need in self.results for need in item.needs()))
            threads = max(1, machine.cores() // max(busy, min(self.jobs, ready)))
            job = prepare(step, self.results, self.store, self.resolver, workspace, threads, self.settings.timeout)
            python = interpreter(step, self.environment, workspace)
            return Child(step, job, workspace, lock, self.store.log(step.key), python)
        except BaseException:
            workspace.remove()
            raise

    def _end(self, child: Child) -> None:
        step = child.step
        outcome = child.outcome()
        del self.running[step.key]
        try:
            result = take(child, outcome, self.store, self.resolver, self.settings.timeout)
        except ModelmillError as error:
            self._fail(step, error)
        except OSError as error:
            self._fail(step, StepError(f"{step.title}: its result cannot be stored: {error.strerror}"))
        else:
            self.results[step.key] = result
            self.listen(
                Finished(
                    step=step,
                    seconds=outcome["seconds"],
                    peak_memory=outcome["peak_memory"],
                    size=sum(file.size for file in result.files),
                )
            )
        finally:
            child.workspace.remove()
            child.lock.release()

    def _fail(self, step: Step, error: ModelmillError) -> None:
        self.todo.pop(step.key, None)
        self.failures[step.key] = error
        self.listen(Failed(step=step, message=str(error)))

    def _watch(self) -> None:
        now = time.monotonic()
        for child in self.running.values():
            limit = self.settings.timeout
            if limit is not None and now - child.started > limit and not child.timed_out:
                child.timed_out = True
                child.stop()
            self.listen(Progress(step=child.step, done=child.written(), total=child.step.estimate.bytes_out))


def _check_disk(step: Step, root: Path) -> None:
    free = shutil.disk_usage(root).free
    if step.estimate.bytes_out > free:
        raise StepError(
            f"{step.title} writes about {_amount(step.estimate.bytes_out)}, and {root} has {_amount(free)} free; make "
            "room, such as by `modelmill cache gc`, or name another place with --store"
        )


def _amount(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count:,} bytes"
