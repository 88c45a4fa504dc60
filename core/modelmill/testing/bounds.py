"""What a converter or quantizer may touch, and what it leaves when its input is bad or when it is killed."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from modelmill.testing.bench import Bench
from modelmill.testing.folders import contents, damaged, snapshot
from modelmill.testing.kills import kill_a_build, leftovers, results
from modelmill.testing.on_bench import OnBench
from modelmill.testing.steps import Surroundings

LEFT_BY_THE_KIT = {"out", "scratch", "scratch.log", "scratch.strays", "scratch.code"}
"""What lies in the folder of a run when the run is over."""


class Bounds(OnBench):
    """Nothing is touched but `out` and scratch, and no half result is left."""

    def test_source_and_everything_but_out_stay_as_they_were(self, bench: Bench) -> None:
        cwd = bench.root / "nothing here"
        cwd.mkdir()
        job = bench.job(bench.admitted())
        own = job.out.parent
        before = snapshot(bench.source), {name: snapshot(path) for name, path in bench.inputs.items()}
        beside = _beside(bench.root, own)
        run = bench.run(job, Surroundings(cwd=cwd, environment={}))
        after = snapshot(bench.source), {name: snapshot(path) for name, path in bench.inputs.items()}
        assert after == before, f"{bench}: changes its inputs, which are read-only"
        assert list(cwd.iterdir()) == [], f"{bench}: writes into its working folder"
        # What was written by native code, or by a program that was run, shows only where one looks for it.
        found = {str(bench.root / name) for name, _ in beside.items() ^ _beside(bench.root, own).items()}
        found |= {str(path) for path in own.iterdir() if path.name not in LEFT_BY_THE_KIT}
        strays = ", ".join(sorted(found.union(run.outcome.strays)))
        assert strays == "", f"{bench}: writes outside its `out` and its scratch folder: {strays}"
        links = [path.name for path in run.out.rglob("*") if path.is_symlink()]
        assert links == [], f"{bench}: leaves symbolic links: {', '.join(links)}"

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
        before = [snapshot(damage.folder) for damage, _ in cases]
        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(lambda case: bench.run(case[1]), cases))
        for (damage, _), run, was in zip(cases, runs, before, strict=True):
            told = f"{bench}: {damage.file} {damage.what}: {run.outcome.event} {run.outcome.message}\n{run.outcome.log}"
            assert run.outcome.event in {"done", "refused"}, told
            strays = ", ".join(run.outcome.strays)
            assert strays == "", f"{bench}: {damage.file} {damage.what}: writes outside its folders: {strays}"
            assert snapshot(damage.folder) == was, f"{bench}: {damage.file} {damage.what}: changes its damaged source"
            if run.outcome.event == "refused":
                assert run.outcome.message.strip(), told
            if damage.file == largest.relative_to(bench.source).as_posix():
                assert run.outcome.event == "refused", f"damaged weights go through: {told}"


def _beside(root: Path, own: Path) -> dict[str, tuple[int, int, int, str]]:
    """All that lies below the kit's folder but a run's own."""
    return {name: told for name, told in snapshot(root).items() if own not in (root / name, *(root / name).parents)}
