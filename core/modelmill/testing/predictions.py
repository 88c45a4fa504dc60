"""What is asked of what a converter or quantizer says beforehand, and of what then comes out."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelmill.store.facts import encode_facts
from modelmill.testing import plugins
from modelmill.testing.bench import Bench, Run
from modelmill.testing.folders import copy_matching
from modelmill.testing.on_bench import OnBench
from modelmill.testing.planned import plan_again
from modelmill.types import Estimate, Facts, Refusal

INTERPRETER_MEMORY = 512 << 20
"""Bytes that Python and a model tool's libraries take by themselves; an estimate is about the model."""
MEASURING = 16 << 20
"""Bytes by which the memory of two runs may differ for other reasons than the model."""
TRIES = 3
"""With how many schemes a value of an option is tried before it counts as one that never works."""


class Predictions(OnBench):
    """`infer` and `estimate` beside the results."""

    def test_infer_and_estimate_are_pure_and_load_no_tool(self, bench: Bench) -> None:
        code = (
            "import json, sys; from modelmill.testing.planned import plan_again;"
            "print(json.dumps(plan_again(json.load(sys.stdin))))"
        )
        table = {
            "module": self.plugin,
            "kind": self.kind,
            "name": self.name,
            "scheme": bench.admitted(),
            "options": dict(self.options),
            "facts": encode_facts(bench.facts),
            "inputs": {name: encode_facts(facts) for name, facts in bench.input_facts.items()},
            "hardware": None if bench.hardware is None else dict(bench.hardware.fields),
        }
        child = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            check=False,
            capture_output=True,
            text=True,
            input=json.dumps(table),
        )
        if child.returncode:
            pytest.fail(f"{bench}: infer or estimate fails in another process\n{child.stderr}")
        told = json.loads(child.stdout)
        heavy = ", ".join(told["heavy"])
        assert heavy == "", f"{bench}: infer and estimate run in the engine, which must start fast, and load {heavy}"
        here = json.loads(json.dumps(plan_again(table)["answers"]))
        assert told["answers"] == here, f"{bench}: infer and estimate answer the same question in two ways"

    def test_infer_chooses_a_scheme_where_none_is_asked_for(self, bench: Bench) -> None:
        inferred = bench.maker.infer(bench.outlook(None))
        if isinstance(inferred, Refusal):
            assert inferred.reason, f"{bench}: refuses without a word where no scheme is asked for"
        else:
            told = f"{bench}: chooses {inferred.scheme!r} where no scheme is asked for, which is none of its own"
            assert inferred.scheme in bench.maker.schemes, told

    def test_every_scheme_gives_what_infer_and_estimate_say(self, bench: Bench, scheme: str) -> None:
        inferred = bench.maker.infer(bench.outlook(scheme))
        if isinstance(inferred, Refusal):
            assert inferred.reason, f"{bench}: refuses {scheme} without a word, and not with why and what would work"
            return
        self._check_result(bench, scheme, inferred, bench.result(scheme), {})

    def test_every_choice_of_every_option_works_or_is_refused(self, bench: Bench, choice: tuple[str, Any]) -> None:
        name, value = choice
        table = {name: value} if name else {}
        refusals = []
        for (scheme, inferred), _ in zip(bench.possible(table) if name else (), range(TRIES), strict=False):
            run = bench.run(bench.job(scheme, options=table))
            told = f"{bench}: {name} = {value!r}: {scheme}: {run.outcome.event} {run.outcome.message}"
            assert run.outcome.event in {"done", "refused"}, f"{told}\n{run.outcome.log}"
            if run.outcome.event == "done":
                self._check_result(bench, f"{name} = {value!r}: {scheme}", inferred, run, table)
                return
            refusals.append(told)
        assert not refusals, f"{refusals[0]}, which `infer` did not foresee"

    def test_memory_grows_with_the_model_as_estimated(self, bench: Bench, tmp_path: Path) -> None:
        for folder in ("whole", "source"):
            (tmp_path / folder).mkdir()
        if not self.make_large_source(tmp_path / "whole"):
            return
        copy_matching(tmp_path / "whole", tmp_path / "source", bench.maker.reads)
        takes: str = bench.maker.takes  # type: ignore[attr-defined]
        facts = plugins.owner(self.plugin, takes).facts(tmp_path / "whole")
        large = replace(bench, source=tmp_path / "source", facts=facts, root=tmp_path, done={})
        scheme = bench.admitted()
        said, took = (_memory(large, scheme)[place] - _memory(bench, scheme)[place] for place in (0, 1))
        told = f"{self}: {scheme}: takes {took} bytes of memory more for the large source, and estimates {said} more"
        assert took <= said * self.memory_factor + MEASURING, told

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        """Compare what was predicted with what came out."""
        for what in ("format", "scheme", "architecture"):
            said, came = getattr(inferred, what), getattr(found, what)
            assert said == came, f"{self}: `infer` says that the {what} is {said!r}, and it is {came!r}"
        said, came = _by_name(inferred), _by_name(found)
        wrong = sorted(name for name in {*said, *came} if said.get(name) != came.get(name))
        assert wrong == [], (
            f"{self}: `infer` is wrong about {len(wrong)} tensors, such as {_told(wrong[0], said, came)}"
        )

    def check_estimate(self, estimate: Estimate, run: Run) -> None:
        """Compare what was predicted with what it took."""
        size = sum(path.stat().st_size for path in run.out.rglob("*") if path.is_file())
        slack, said = 64 << 10, estimate.bytes_out
        is_near = size / self.bytes_factor - slack <= said <= size * self.bytes_factor + slack
        assert is_near, f"{self}: estimates {said} bytes, and {size} come out"
        peak, most = run.outcome.peak_memory, estimate.peak_memory
        told = f"{self}: estimates {most} bytes of memory, and takes {peak}, of which Python may take half a GiB"
        assert peak <= most * self.memory_factor + INTERPRETER_MEMORY, told
        assert estimate.seconds >= 0, f"{self}: estimates {estimate.seconds} seconds"

    def _check_result(self, bench: Bench, what: str, inferred: Facts, run: Run, options: Mapping[str, Any]) -> None:
        """Compare a result with what was said of it, and have the format's owner look at it."""
        with self._sound(f"{what}: `estimate`"):
            estimate = bench.maker.estimate(bench.outlook(inferred.scheme, options), inferred)
        with self._sound(f"{what}: the owner of {inferred.format} finds fault with the result"):
            bench.gives().validate(run.out)
            found = bench.gives().facts(run.out)
        self.check_facts(inferred, found)
        self.check_estimate(estimate, run)


def _memory(bench: Bench, scheme: str) -> tuple[int, int]:
    """Bytes at the peak for a scheme, as estimated and as it was."""
    outlook = bench.outlook(scheme)
    inferred = bench.maker.infer(outlook)
    if isinstance(inferred, Refusal):
        pytest.fail(f"{bench}: {scheme}: refuses the large source: {inferred.reason}")
    return bench.maker.estimate(outlook, inferred).peak_memory, bench.result(scheme).outcome.peak_memory


def _by_name(facts: Facts) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {tensor.name: (tensor.dtype, tuple(tensor.shape)) for tensor in facts.tensors}


def _told(name: str, said: Mapping[str, object], came: Mapping[str, object]) -> str:
    return f"{name}, which is to be {said.get(name, 'absent')} and is {came.get(name, 'absent')}"
