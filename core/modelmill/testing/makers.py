"""What every converter and quantizer has to keep to: suites that a plugin's tests subclass."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill.decode import DecodeError, decode
from modelmill.facts import encode_facts
from modelmill.step import decode_job, encode_job
from modelmill.testing import plugins
from modelmill.testing.bench import Bench, Run
from modelmill.testing.folders import contents, copy_matching, damaged, snapshot
from modelmill.testing.kills import kill_a_build, leftovers, results
from modelmill.testing.planned import plan_again
from modelmill.testing.steps import Surroundings
from modelmill.testing.suite import Suite
from modelmill.types import Estimate, Facts, Hardware, Refusal

INTERPRETER_MEMORY = 512 << 20
"""Bytes that Python and a model tool's libraries take by themselves; an estimate is about the model."""
OTHER_ENVIRONMENT = {
    "TZ": "Asia/Kathmandu",
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONHASHSEED": "4242",
    "PYTHONUTF8": "0",
    "SOURCE_DATE_EPOCH": "1700000000",
    "USER": "somebody",
}


class MakerSuite(Suite):
    """What converters and quantizers have in common. Subclass ConverterSuite or QuantizerSuite instead."""

    name: ClassVar[str]
    """The record's name."""
    kind: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    """Options for every run, where the record has some without a default."""
    hardware: ClassVar[Mapping[str, Any]] = {}
    """Fields of a hardware profile, where the record uses some."""
    bytes_factor: ClassVar[float] = 1.1
    """The estimate of the bytes written is right within this factor (and 64 KiB, for headers)."""
    memory_factor: ClassVar[float] = 2.0
    """The memory at the peak is at most the estimate by this factor (and what Python and its libraries take)."""
    timeout: ClassVar[float] = 300
    """Seconds after which a run counts as hung."""
    kills: ClassVar[int] = 2
    """How often a step is killed, each time at another instant."""

    def make_source(self, folder: Path) -> None:
        """Put a small source of the right format into an empty folder."""
        raise NotImplementedError("say what the record is to be tried on: def make_source(self, folder: Path) -> None")

    def make_inputs(self, folder: Path) -> Mapping[str, Path]:
        """Make the further inputs that the record needs, each a folder below an empty one."""
        del folder
        return {}

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """One test for every scheme, and one for every value of every option that is a choice."""
        if "scheme" in metafunc.fixturenames:
            metafunc.parametrize("scheme", plugins.maker(cls.plugin, cls.kind, cls.name).schemes)
        if "choice" in metafunc.fixturenames:
            choices = list(plugins.literals(plugins.maker(cls.plugin, cls.kind, cls.name).options)) or [("", None)]
            metafunc.parametrize(
                "choice", choices, ids=[f"{name}={value}" if name else "none" for name, value in choices]
            )

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory: pytest.TempPathFactory) -> Bench:
        """The record on its bench, with a source made once for the whole class."""
        root = tmp_path_factory.mktemp(cls.name)
        maker = plugins.maker(cls.plugin, cls.kind, cls.name)
        for folder in ("whole", "source", "inputs"):
            (root / folder).mkdir()
        cls().make_source(root / "whole")
        copy_matching(root / "whole", root / "source", maker.reads)
        inputs = cls().make_inputs(root / "inputs")
        takes: str = maker.takes  # type: ignore[attr-defined]
        return Bench(
            module=cls.plugin,
            kind=cls.kind,
            maker=maker,
            root=root,
            source=root / "source",
            inputs=inputs,
            facts=plugins.owner(cls.plugin, takes).facts(root / "whole"),
            input_facts={
                name: plugins.owner(cls.plugin, maker.inputs[name].format).facts(path) for name, path in inputs.items()
            },
            options=cls.options,
            hardware=Hardware(fields=dict(cls.hardware)) if maker.uses_hardware else None,
            timeout=cls.timeout,
        )

    def test_record_says_what_it_is(self, bench: Bench) -> None:
        maker = bench.maker
        assert maker.schemes, f"{bench}: needs at least one scheme"
        assert len(set(maker.schemes)) == len(maker.schemes), f"{bench}: a scheme is listed twice"
        unknown = sorted(set(maker.schemes) - set(bench.gives().schemes))
        assert unknown == [], f"{bench}: gives {', '.join(unknown)}, which the owner of the format does not know"
        assert set(bench.inputs) >= {name for name, item in maker.inputs.items() if item.required}
        try:
            hash(decode(maker.options, self.options))
        except TypeError as error:
            pytest.fail(f"{bench}: options are a frozen dataclass of plain values: {error}")

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
        assert told["heavy"] == [], f"{bench}: infer and estimate run in the engine, which must start fast"
        here = json.loads(json.dumps(plan_again(table)["answers"]))
        assert told["answers"] == here, f"{bench}: infer and estimate answer the same question in two ways"

    def test_infer_chooses_a_scheme_where_none_is_asked_for(self, bench: Bench) -> None:
        inferred = bench.maker.infer(bench.outlook(None))
        if isinstance(inferred, Refusal):
            assert inferred.reason
        else:
            assert inferred.scheme in bench.maker.schemes

    def test_every_scheme_gives_what_infer_and_estimate_say(self, bench: Bench, scheme: str) -> None:
        inferred = bench.maker.infer(bench.outlook(scheme))
        if isinstance(inferred, Refusal):
            assert inferred.reason, "a refusal says why and what would work"
            return
        estimate = bench.maker.estimate(bench.outlook(scheme), inferred)
        run = bench.result(scheme)
        bench.gives().validate(run.out)
        self.check_facts(inferred, bench.gives().facts(run.out))
        self.check_estimate(estimate, run)

    def check_facts(self, inferred: Facts, found: Facts) -> None:
        """Compare what was predicted with what came out."""
        assert (inferred.format, inferred.scheme) == (found.format, found.scheme)
        assert inferred.architecture == found.architecture
        assert _by_name(inferred) == _by_name(found)

    def check_estimate(self, estimate: Estimate, run: Run) -> None:
        """Compare what was predicted with what it took."""
        size = sum(path.stat().st_size for path in run.out.rglob("*") if path.is_file())
        slack = 64 << 10
        assert size / self.bytes_factor - slack <= estimate.bytes_out <= size * self.bytes_factor + slack
        assert run.outcome.peak_memory <= estimate.peak_memory * self.memory_factor + INTERPRETER_MEMORY
        assert estimate.seconds >= 0

    def test_same_job_gives_same_bytes(self, bench: Bench) -> None:
        scheme = bench.admitted()
        first, again = bench.result(scheme), bench.run(bench.job(scheme))
        assert contents(first.out), f"{bench}: the result is empty"
        assert contents(again.out) == contents(first.out), f"{bench}: the same job gives other bytes each time"

    @pytest.mark.parametrize("what", ["place", "environment", "umask", "threads"])
    def test_bytes_do_not_depend_on(self, bench: Bench, what: str) -> None:
        scheme = bench.admitted()
        wanted = contents(bench.result(scheme).out)
        job, cwd = bench.job(scheme, threads=3 if what == "threads" else 1), None
        if what == "place":
            cwd = bench.root / "another place" / "with ümlaut"
            cwd.mkdir(parents=True)
            source = shutil.copytree(bench.source, cwd.parent / "the same model")
            job = bench.job(scheme, source=source)
        around = Surroundings(
            cwd=cwd or job.limits.scratch,
            environment=OTHER_ENVIRONMENT if what == "environment" else {},
            umask=0o077 if what == "umask" else 0o022,
        )
        run = bench.well(bench.run(job, around), f"another {what}")
        assert contents(run.out) == wanted, f"{bench}: the bytes depend on the {what}"

    def test_source_and_everything_but_out_stay_as_they_were(self, bench: Bench) -> None:
        before = snapshot(bench.source), {name: snapshot(path) for name, path in bench.inputs.items()}
        cwd = bench.root / "nothing here"
        cwd.mkdir()
        run = bench.run(bench.job(bench.admitted()), Surroundings(cwd=cwd, environment={}))
        after = snapshot(bench.source), {name: snapshot(path) for name, path in bench.inputs.items()}
        assert after == before, f"{bench}: changes its inputs, which are read-only"
        assert list(cwd.iterdir()) == [], f"{bench}: writes into its working folder"
        strays = ", ".join(run.outcome.strays)
        assert strays == "", f"{bench}: writes outside its `out` and its scratch folder: {strays}"
        assert not [path for path in run.out.rglob("*") if path.is_symlink()], f"{bench}: leaves symbolic links"

    def test_killed_at_any_instant_it_leaves_a_clean_store(self, bench: Bench, tmp_path: Path) -> None:
        scheme = bench.admitted()
        whole = bench.result(scheme)
        seed = time.time_ns()
        chance = random.Random(seed)  # noqa: S311 - instants, not secrets
        for number in range(self.kills):
            told = f"{bench}: kill {number} of seed {seed}"
            store = tmp_path / f"store-{number}"
            kill_a_build(bench, scheme, store, chance.uniform(0, whole.seconds))
            left = leftovers(store, patience=30)
            assert left == [], f"{told}: left behind {', '.join(left)}"
            kept = results(store)
            assert kept in ([], [contents(whole.out)]), f"{told}: half a result is in the store"

    def test_bad_input_is_refused_with_convert_error_and_nothing_else(self, bench: Bench, tmp_path: Path) -> None:
        scheme = bench.admitted()
        largest = max(bench.source.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else -1)
        cases = [(damage, bench.job(scheme, source=damage.folder)) for damage in damaged(bench.source, tmp_path)]
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda case: bench.run(case[1]), cases))
        for (damage, _), run in zip(cases, runs, strict=True):
            told = f"{bench}: {damage.file} {damage.what}: {run.outcome.event} {run.outcome.message}\n{run.outcome.log}"
            assert run.outcome.event in {"done", "refused"}, told
            if run.outcome.event == "refused":
                assert run.outcome.message.strip(), told
            if damage.file == largest.relative_to(bench.source).as_posix():
                assert run.outcome.event == "refused", f"damaged weights go through: {told}"

    def test_every_choice_of_every_option_works_or_is_refused(self, bench: Bench, choice: tuple[str, Any]) -> None:
        table = {choice[0]: choice[1]} if choice[0] else {}
        for scheme in bench.maker.schemes:
            if isinstance(bench.maker.infer(bench.outlook(scheme, table)), Facts):
                run = bench.run(bench.job(scheme, options=table))
                told = f"{bench}: {choice}: {run.outcome.event} {run.outcome.message}\n{run.outcome.log}"
                assert run.outcome.event in {"done", "refused"}, told
                return

    def test_unknown_options_are_rejected(self, bench: Bench) -> None:
        with pytest.raises(DecodeError, match="unknown key"):
            decode(bench.maker.options, {**self.options, "no_such_option": 1})

    def test_job_survives_json(self, bench: Bench) -> None:
        job = bench.job(bench.admitted())
        data = json.loads(json.dumps(encode_job(self.plugin, self.kind, self.name, job)))
        maker, again = decode_job(data)
        assert (maker.name, again) == (self.name, job)


class ConverterSuite(MakerSuite):
    """Subclass it, name the plugin and the converter, and say how to make a small source."""

    kind: ClassVar[str] = "converter"
    hook: ClassVar[str] = "converters"


class QuantizerSuite(MakerSuite):
    """Subclass it, name the plugin and the quantizer, and say how to make a small source."""

    kind: ClassVar[str] = "quantizer"
    hook: ClassVar[str] = "quantizers"


def _by_name(facts: Facts) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {tensor.name: (tensor.dtype, tuple(tensor.shape)) for tensor in facts.tensors}
