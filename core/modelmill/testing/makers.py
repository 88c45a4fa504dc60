"""What every converter and quantizer has to keep to: suites that a plugin's tests subclass."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest

from modelmill.decode import DecodeError, decode
from modelmill.step import decode_job, encode_job
from modelmill.testing.bench import Bench, Run
from modelmill.testing.bounds import Bounds
from modelmill.testing.folders import contents
from modelmill.testing.predictions import Predictions
from modelmill.testing.steps import Surroundings

OTHER_ENVIRONMENT = {
    "TZ": "Asia/Kathmandu",
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONHASHSEED": "4242",
    "PYTHONUTF8": "0",
    "SOURCE_DATE_EPOCH": "1700000000",
    "USER": "somebody",
}
EVERYTHING = frozenset({"place", "environment", "umask", "threads"})
"""What surrounds a step and may not influence a byte."""


class MakerSuite(Predictions, Bounds):
    """What converters and quantizers have in common. Subclass ConverterSuite or QuantizerSuite instead."""

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

    def test_same_job_gives_same_bytes(self, bench: Bench) -> None:
        scheme = bench.admitted()
        first, again = bench.result(scheme), bench.run(bench.job(scheme))
        assert contents(first.out), f"{bench}: the result is empty"
        assert contents(again.out) == contents(first.out), f"{bench}: the same job gives other bytes each time"

    @pytest.mark.parametrize("what", sorted(EVERYTHING))
    def test_bytes_do_not_depend_on(self, bench: Bench, what: str) -> None:
        scheme = bench.admitted()
        wanted = contents(bench.result(scheme).out)
        run = _elsewhere(bench, scheme, frozenset({what}))
        assert contents(run.out) == wanted, f"{bench}: the bytes depend on the {what}"

    def test_bytes_of_other_schemes_do_not_depend_on_what_surrounds_the_step(self, bench: Bench) -> None:
        schemes = bench.spread(self.varied)
        wanted = [contents(bench.result(scheme).out) for scheme in schemes]
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda scheme: _elsewhere(bench, scheme, EVERYTHING), schemes))
        for scheme, run, bytes_here in zip(schemes, runs, wanted, strict=True):
            told = f"{bench}: {scheme}: the bytes depend on the place, the environment, the umask or the threads"
            assert contents(run.out) == bytes_here, told

    def test_unknown_options_are_rejected(self, bench: Bench) -> None:
        with self._refused(DecodeError, "an option that is none of its own", "unknown key"):
            decode(bench.maker.options, {**self.options, "no_such_option": 1})

    def test_job_survives_json(self, bench: Bench) -> None:
        job = bench.job(bench.admitted())
        with self._sound("a job as JSON"):
            data = json.loads(json.dumps(encode_job(self.plugin, self.kind, self.name, job)))
            maker, again = decode_job(data)
        assert (maker.name, again) == (self.name, job), f"{bench}: a job is not the same after JSON"


class ConverterSuite(MakerSuite):
    """Subclass it, name the plugin and the converter, and say how to make a small source."""

    kind: ClassVar[str] = "converter"
    hook: ClassVar[str] = "converters"


class QuantizerSuite(MakerSuite):
    """Subclass it, name the plugin and the quantizer, and say how to make a small source."""

    kind: ClassVar[str] = "quantizer"
    hook: ClassVar[str] = "quantizers"


def _elsewhere(bench: Bench, scheme: str, what: frozenset[str]) -> Run:
    """A run that ended well in surroundings that differ in this."""
    job, cwd = bench.job(scheme, threads=3 if "threads" in what else 1), None
    if "place" in what:
        cwd = job.out.parent / "another place" / "with ümlaut"
        cwd.mkdir(parents=True)
        job = replace(job, source=shutil.copytree(bench.source, cwd.parent / "the same model"))
    around = Surroundings(
        cwd=cwd or job.limits.scratch,
        environment=OTHER_ENVIRONMENT if "environment" in what else {},
        umask=0o077 if "umask" in what else 0o022,
    )
    return bench.well(bench.run(job, around), f"{scheme}: another {', '.join(sorted(what))}")
