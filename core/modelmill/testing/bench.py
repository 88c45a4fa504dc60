"""A converter or quantizer on its bench: with a source, its facts, and the results made so far."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelmill.decode import decode
from modelmill.testing import plugins
from modelmill.testing.steps import Outcome, Surroundings, run_step
from modelmill.types import Facts, Format, Hardware, Job, Limits, Maker, Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the record: how it ended, the folder of its result, and the seconds that it took."""

    outcome: Outcome
    out: Path
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the tests of one suite share."""

    module: str
    kind: str
    maker: Maker[Any]
    root: Path
    source: Path
    inputs: Mapping[str, Path]
    facts: Facts
    input_facts: Mapping[str, Facts]
    options: Mapping[str, Any]
    hardware: Hardware | None
    timeout: float
    counter: Iterator[int] = field(default_factory=itertools.count)
    done: dict[str, Run] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.module}: {self.kind} {self.maker.name}"

    def outlook(self, scheme: str | None, options: Mapping[str, Any] | None = None) -> Outlook[Any]:
        """What `infer` and `estimate` are given for a scheme."""
        return Outlook(
            facts=self.facts,
            scheme=scheme,
            options=decode(self.maker.options, {**self.options, **(options or {})}),
            inputs=self.input_facts,
            hardware=self.hardware,
        )

    def job(
        self, scheme: str, *, options: Mapping[str, Any] | None = None, source: Path | None = None, threads: int = 1
    ) -> Job[Any]:
        """A job in fresh folders."""
        folder = self.root / f"run-{next(self.counter)}"
        for name in ("out", "scratch"):
            (folder / name).mkdir(parents=True)
        return Job(
            source=source or self.source,
            inputs=self.inputs,
            out=folder / "out",
            scheme=scheme,
            options=decode(self.maker.options, {**self.options, **(options or {})}),
            hardware=self.hardware,
            limits=Limits(threads=threads, scratch=folder / "scratch"),
        )

    def run(self, job: Job[Any], surroundings: Surroundings | None = None) -> Run:
        """Run a job in a child process; one that is still running at the suite's timeout fails the test."""
        started = time.monotonic()
        outcome = run_step(
            self.module, self.kind, self.maker.name, job, surroundings=surroundings, timeout=self.timeout
        )
        if outcome.event == "hung":
            pytest.fail(f"{self}: {job.scheme}: still running after {self.timeout:g} s\n{outcome.log}")
        return Run(outcome=outcome, out=job.out, seconds=time.monotonic() - started)

    def result(self, scheme: str) -> Run:
        """The result for a scheme, made once; a run that does not end well fails the test with the step's log."""
        if scheme not in self.done:
            self.done[scheme] = self.well(self.run(self.job(scheme)), scheme)
        return self.done[scheme]

    def well(self, run: Run, what: str) -> Run:
        """A run that ended well; any other fails the test with the step's log."""
        if run.outcome.event != "done":
            pytest.fail(f"{self}: {what}: {run.outcome.event} {run.outcome.message}\n{run.outcome.log}")
        return run

    def admitted(self) -> str:
        """The first scheme that `infer` does not refuse for this source."""
        for scheme, _ in self.possible():
            return scheme
        pytest.fail(f"{self}: refuses every one of its schemes for the suite's source")

    def possible(self, options: Mapping[str, Any] | None = None) -> Iterator[tuple[str, Facts]]:
        """The schemes that `infer` does not refuse for this source and these options, with what it says of each."""
        for scheme in self.maker.schemes:
            inferred = self.maker.infer(self.outlook(scheme, options))
            if isinstance(inferred, Facts):
                yield scheme, inferred
            elif not inferred.reason.strip():
                pytest.fail(f"{self}: refuses {scheme} without a word, and not with why and what would work")

    def spread(self, count: int) -> list[str]:
        """As many of the schemes after the first as `count` says, from all over the list, its last among them."""
        others = [scheme for scheme, _ in self.possible()][1:]
        return others[:: -max(1, len(others) // count)][:count] if count else []

    def gives(self) -> Format:
        """The format of what comes out."""
        return plugins.owner(self.module, self.maker.gives)  # type: ignore[attr-defined]
