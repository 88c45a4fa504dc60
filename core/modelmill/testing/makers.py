"""What every converter and quantizer has to keep to: suites that a plugin's tests subclass."""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill.decode import DecodeError, decode
from modelmill.facts import decode_facts, encode_facts
from modelmill.step import decode_job, encode_job
from modelmill.testing import plugins
from modelmill.testing.folders import contents, copy_matching, damaged, snapshot
from modelmill.testing.steps import Outcome, Surroundings, run_step
from modelmill.types import Estimate, Facts, Format, Hardware, Job, Limits, Maker, Outlook, Refusal

HEAVY = frozenset(
    {"ggml", "gguf", "huggingface_hub", "jax", "mlx", "numpy", "onnx", "onnxruntime", "sentencepiece"}
    | {"tensorflow", "tokenizers", "torch", "transformers"}
)
"""Modules that a plugin may not pull in where the engine looks."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the record: how it ended, and the folder of its result."""

    outcome: Outcome
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the tests of one suite share: the record, its source, the facts, and the results made so far."""

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
    counter: Iterator[int] = field(default_factory=itertools.count)
    done: dict[str, Run] = field(default_factory=dict)

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
        """Run a job in a child process."""
        outcome = run_step(self.module, self.kind, self.maker.name, job, surroundings=surroundings)
        return Run(outcome=outcome, out=job.out)

    def result(self, scheme: str) -> Run:
        """The result for a scheme, made once; a run that does not end well fails the test with the step's log."""
        if scheme not in self.done:
            run = self.run(self.job(scheme))
            if run.outcome.event != "done":
                pytest.fail(f"{scheme}: {run.outcome.event}: {run.outcome.message}\n{run.outcome.log}")
            self.done[scheme] = run
        return self.done[scheme]

    def admitted(self) -> str:
        """The first scheme that `infer` does not refuse for this source."""
        for scheme in self.maker.schemes:
            if isinstance(self.maker.infer(self.outlook(scheme)), Facts):
                return scheme
        pytest.fail(f"{self.maker.name} refuses every one of its schemes for the suite's source")

    def gives(self) -> Format:
        """The format of what comes out."""
        return plugins.owner(self.module, self.maker.gives)  # type: ignore[attr-defined]


class MakerSuite:
    """What converters and quantizers have in common. Subclass ConverterSuite or QuantizerSuite instead."""

    plugin: ClassVar[str]
    """The plugin's import package, such as `modelmill_gguf`."""
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
        )

    def test_record_says_what_it_is(self, bench: Bench) -> None:
        maker = bench.maker
        assert maker.schemes, "a record needs at least one scheme"
        assert len(set(maker.schemes)) == len(maker.schemes), "a scheme is listed twice"
        assert set(maker.schemes) <= set(bench.gives().schemes), "a scheme is unknown to the owner of the format"
        assert set(bench.inputs) >= {name for name, item in maker.inputs.items() if item.required}
        hash(decode(maker.options, self.options)), "options are a frozen dataclass of plain values"

    def test_importing_the_plugin_loads_no_heavy_module(self, bench: Bench) -> None:
        code = (
            "import importlib, sys; module = importlib.import_module(sys.argv[1]);"
            "list(getattr(module, sys.argv[2])()); print(*sys.modules)"
        )
        command = [sys.executable, "-c", code, self.plugin, f"modelmill_{self.kind}s"]
        loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert not HEAVY.intersection(loaded), f"{bench.module} loads {sorted(HEAVY.intersection(loaded))} at once"

    def test_infer_and_estimate_are_pure_and_load_no_tool(self, bench: Bench) -> None:
        code = (
            "import json, sys; from modelmill.testing.makers import plan_again;"
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
        command = [sys.executable, "-c", code]
        child = subprocess.run(command, check=True, capture_output=True, text=True, input=json.dumps(table))
        told = json.loads(child.stdout)
        assert told["heavy"] == [], "infer and estimate run in the engine, which must start fast"
        assert told["answers"] == json.loads(json.dumps(plan_again(table)["answers"])), "the same question, two answers"

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
        assert contents(first.out), "the result is empty"
        assert contents(again.out) == contents(first.out)

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
        run = bench.run(job, around)
        assert run.outcome.event == "done", run.outcome
        assert contents(run.out) == wanted

    def test_source_and_everything_but_out_stay_as_they_were(self, bench: Bench) -> None:
        before = snapshot(bench.source), {name: snapshot(path) for name, path in bench.inputs.items()}
        cwd = bench.root / "nothing here"
        cwd.mkdir()
        run = bench.run(bench.job(bench.admitted()), Surroundings(cwd=cwd, environment={}))
        after = snapshot(bench.source), {name: snapshot(path) for name, path in bench.inputs.items()}
        assert after == before, "a step's inputs are read-only"
        assert list(cwd.iterdir()) == [], "the step wrote into its working folder"
        assert run.outcome.strays == (), "the step wrote outside its `out` and its scratch folder"
        assert not [path for path in run.out.rglob("*") if path.is_symlink()], "a result is regular files"

    def test_bad_input_is_refused_with_convert_error_and_nothing_else(self, bench: Bench, tmp_path: Path) -> None:
        scheme = bench.admitted()
        largest = max(bench.source.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else -1)
        cases = [(damage, bench.job(scheme, source=damage.folder)) for damage in damaged(bench.source, tmp_path)]
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda case: bench.run(case[1]), cases))
        for (damage, _), run in zip(cases, runs, strict=True):
            told = f"{damage.file} {damage.what}: {run.outcome.event}: {run.outcome.message}\n{run.outcome.log}"
            assert run.outcome.event in {"done", "refused"}, told
            if run.outcome.event == "refused":
                assert run.outcome.message.strip(), told
            if damage.file == largest.relative_to(bench.source).as_posix():
                assert run.outcome.event == "refused", f"damaged weights went through: {told}"

    def test_every_choice_of_every_option_works_or_is_refused(self, bench: Bench, choice: tuple[str, Any]) -> None:
        table = {choice[0]: choice[1]} if choice[0] else {}
        for scheme in bench.maker.schemes:
            if isinstance(bench.maker.infer(bench.outlook(scheme, table)), Facts):
                run = bench.run(bench.job(scheme, options=table))
                assert run.outcome.event in {"done", "refused"}, run.outcome
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


class QuantizerSuite(MakerSuite):
    """Subclass it, name the plugin and the quantizer, and say how to make a small source."""

    kind: ClassVar[str] = "quantizer"


def plan_again(table: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a record what it expects of a step, from JSON and back to it; and which heavy modules that took."""
    maker = plugins.maker(table["module"], table["kind"], table["name"])
    outlook = Outlook(
        facts=decode_facts(table["facts"]),
        scheme=table["scheme"],
        options=decode(maker.options, table["options"]),
        inputs={name: decode_facts(facts) for name, facts in table["inputs"].items()},
        hardware=None if table["hardware"] is None else Hardware(fields=table["hardware"]),
    )
    inferred = maker.infer(outlook)
    if isinstance(inferred, Refusal):
        raise TypeError(f"refused from the facts as JSON, and not before: {inferred.reason}")
    estimate = maker.estimate(outlook, inferred)
    answers = [encode_facts(inferred), estimate.bytes_out, estimate.peak_memory, estimate.seconds]
    return {"answers": answers, "heavy": sorted(HEAVY.intersection(sys.modules))}


def _by_name(facts: Facts) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {tensor.name: (tensor.dtype, tuple(tensor.shape)) for tensor in facts.tensors}
