"""The suite for converters on a little one: each fault is found by the test for it, in one sentence."""

import hashlib
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelmill.step import find
from modelmill.store import Store
from modelmill.testing import ConverterSuite, plugins
from modelmill.testing.bench import Bench
from modelmill.testing.kills import leftovers

PLUGIN = """
import os
from dataclasses import replace

import tally
from modelmill import ConvertError

SCHEMES = ("plain", "second", "third")

def run(job):
    model = job.source / "words.txt"
{body}
    tally.run(job)
    (job.out / job.scheme).touch()

def facts(folder):
    tally.validate(folder)
    (scheme,) = [name for name in SCHEMES if (folder / name).exists()]
    return replace(tally.facts(folder), scheme=scheme)

def estimate(outlook, inferred):
    size = sum(outlook.facts.files.values())
    return replace(tally.estimate(outlook, inferred), peak_memory={memory})

def modelmill_formats():
    return (replace(tally.FORMAT, schemes=SCHEMES, facts=facts),)

def modelmill_converters():
    return (replace(tally.CONVERTER, schemes=SCHEMES, run=run, estimate=estimate),)
"""


class Suite(ConverterSuite):
    name = "text-to-tally"
    kills = 5

    def make_large_source(self, folder: Path) -> bool:
        (folder / "words.txt").write_text(("word" * 250 + " ") * 30_000 + "end.")
        return True


Attempt = Callable[[Suite, Bench, Path], None]


def attempt(test: str, folder: Path, body: str = "", memory: str = "4 * size") -> None:
    """Run a test of the suite on a converter that also does this, and estimates its memory so."""
    module = f"little_{hashlib.sha256((body + memory).encode()).hexdigest()}"
    for name in ("code", "bench/source"):
        (folder / name).mkdir(parents=True)
    inner = textwrap.indent(textwrap.dedent(body).strip() or "pass", "    ")
    (folder / "code" / f"{module}.py").write_text(PLUGIN.format(body=inner, memory=memory))
    (folder / "bench/source/words.txt").write_text("To be or not to be.")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "code")
        patch.setattr(Suite, "plugin", module, raising=False)
        bench = Bench(
            module=module,
            kind="converter",
            maker=find(module, "converter", "text-to-tally"),
            root=folder / "bench",
            source=folder / "bench/source",
            inputs={},
            facts=plugins.owner(module, "text").facts(folder / "bench/source"),
            input_facts={},
            options={},
            hardware=None,
            timeout=60,
        )
        TESTS[test](Suite(), bench, folder)


def choice(suite: Suite, bench: Bench, folder: Path) -> None:
    del folder
    suite.test_every_choice_of_every_option_works_or_is_refused(bench, ("order", "number"))


def kills(suite: Suite, bench: Bench, folder: Path) -> None:
    (folder / "stores").mkdir()
    suite.test_killed_at_any_instant_it_leaves_a_clean_store(bench, folder / "stores")


def late_kills(suite: Suite, bench: Bench, folder: Path) -> None:
    """The step counts as one of eight seconds, so that a kill comes when it is over and its result is in the store."""
    bench.done["plain"] = replace(bench.result("plain"), seconds=8)
    kills(suite, bench, folder)


TESTS: dict[str, Attempt] = {
    "umask": lambda suite, bench, _: suite.test_bytes_do_not_depend_on(bench, "umask"),
    "schemes": lambda suite, bench, _: suite.test_bytes_of_other_schemes_do_not_depend_on_what_surrounds_the_step(
        bench
    ),
    "choice": choice,
    "bad input": lambda suite, bench, folder: suite.test_bad_input_is_refused_with_convert_error_and_nothing_else(
        bench, folder
    ),
    "kills": kills,
    "late kills": late_kills,
    "memory": lambda suite, bench, folder: suite.test_memory_grows_with_the_model_as_estimated(bench, folder),
    "bounds": lambda suite, bench, _: suite.test_source_and_everything_but_out_stay_as_they_were(bench),
}
FAULTS = {
    "depends on the umask": (
        "umask",
        "(job.out / 'umask').write_text(str(os.umask(0o022)))",
        "the bytes depend on the umask",
    ),
    "depends on the threads for one of its schemes": (
        "schemes",
        "if job.scheme == 'third': (job.out / 'threads').write_text(str(job.limits.threads))",
        "third: the bytes depend on the place, the environment, the umask or the threads",
    ),
    "crashes for a choice": (
        "choice",
        "if job.options.order == 'number': 1 / 0",
        "order = 'number': plain: raised ZeroDivisionError: division by zero",
    ),
    "refuses a choice that it foresaw to work": (
        "choice",
        "if job.options.order == 'number': raise ConvertError('not today')",
        "order = 'number': plain: refused not today, which `infer` did not foresee",
    ),
    "makes something unsound of a choice": (
        "choice",
        "if job.options.order == 'number': (job.out / 'second').touch()",
        "order = 'number': plain: the owner of tally finds fault with the result: ValueError: ",
    ),
    "makes something large of a choice": (
        "choice",
        "if job.options.order == 'number': (job.out / 'more').write_bytes(bytes(1 << 20))",
        "estimates 19 bytes, and 10486",
    ),
    "makes another scheme of a choice": (
        "choice",
        "if job.options.order == 'number': job = replace(job, scheme='third')",
        "`infer` says that the scheme is 'plain', and it is 'third'",
    ),
    "leaves a file where the input is bad": (
        "bad input",
        "if not model.exists(): (job.out.parent / 'cache').touch()",
        "words.txt missing: writes outside its folders: ",
    ),
    "mends what is damaged": (
        "bad input",
        "if not model.exists(): os.system(f\"touch '{job.source}/mended'\")",
        "words.txt missing: changes its damaged source",
    ),
    "is not what it was when it is made again": (
        "late kills",
        "(job.out / 'salt').write_bytes(os.urandom(8))",
        "kill ",
    ),
    "leaves links": ("bounds", "os.symlink('tally.json', job.out / 'link')", "leaves symbolic links: link"),
}


@pytest.mark.parametrize("test", sorted({*TESTS} - {"late kills"}))
def test_a_sound_converter_passes(test: str, tmp_path: Path) -> None:
    attempt(test, tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_converter_is_caught_that(fault: str, tmp_path: Path) -> None:
    test, body, sentence = FAULTS[fault]
    with pytest.raises((AssertionError, pytest.fail.Exception)) as raised:
        attempt(test, tmp_path, body)
    first = str(raised.value)
    assert re.match(rf"little_\w+: converter text-to-tally: {re.escape(sentence)}", first), first


def test_a_converter_is_caught_that_estimates_no_more_memory_for_a_large_model(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"bytes of memory more for the large source, and estimates 0 more"):
        attempt("memory", tmp_path, memory="1 << 20")


def test_a_step_that_still_runs_and_a_blob_that_is_another_are_left_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    workspace = store.workspace("running")
    (tmp_path / "blobs/sha256" / ("0" * 64)).touch()
    running = [f"tmp/{workspace.folder.name}", f"tmp/{workspace.folder.name}.lock"]
    assert leftovers(tmp_path, patience=0.2) == [f"blobs/sha256/{'0' * 64}", *running]
    workspace.remove()
    assert leftovers(tmp_path, patience=0.2) == [f"blobs/sha256/{'0' * 64}"]
