"""What the engine itself costs: a build with nothing to do, and the planning of a thousand targets.

Run it with the interpreter that modelmill is installed in: `python tests/benchmarks/engine.py`. It makes tiny
checkpoints of the kit in a temporary folder and prints a table; ratios are of medians in the same run.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from modelmill.testing import Shape, make_checkpoint

RUNS = 9
SCHEMES = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q4_0")
HEAD = '[project]\nname = "bench"\nversion = "1"\nlicense = "MIT"\n\n[sign]\nmode = "none"\n'
DEFAULTS = '\n[defaults]\nhardware = "x86-64-v3"\nformat = "gguf"\n'


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory(prefix="modelmill-bench-") as scratch:
        folder = Path(scratch)
        nothing_to_do(folder)
        thousand_targets(folder)


def nothing_to_do(folder: Path) -> None:
    """A second `modelmill build` against the start of Python with click, for a small and a larger model."""
    baseline = [seconds([sys.executable, "-c", "import click"], folder) for _ in range(RUNS)]
    print(f"{'python -c import click':40} {statistics.median(baseline) * 1000:7.0f} ms")
    for name, layers in (("2 layers", 2), ("16 layers", 16)):
        work = folder / name.replace(" ", "-")
        work.mkdir()
        make_checkpoint(work / "model", "llama", shape=Shape(layers=layers))
        targets = "".join(f'\n[target.{scheme.lower()}]\nscheme = "{scheme}"\n' for scheme in ("F16", "Q8_0", "Q4_K_M"))
        defaults = (
            '\n[source.base]\nuri = "model"\n\n[defaults]\nsource = "base"\nhardware = "x86-64-v3"\nformat = "gguf"\n'
        )
        (work / "build.toml").write_text(HEAD + defaults + targets)
        command = [str(Path(sys.executable).with_name("modelmill")), "build"]
        seconds(command, work)
        time.sleep(2.5)  # what changed less than two seconds ago is looked at again
        seconds(command, work)
        found = [seconds(command, work) for _ in range(RUNS)]
        ratio = statistics.median(found) / statistics.median(baseline)
        print(f"{'modelmill build, nothing to do, ' + name:40} {statistics.median(found) * 1000:7.0f} ms  {ratio:.2f}x")


def thousand_targets(folder: Path) -> None:
    """The planner alone, in processor time: 1,000 targets over 10 sources, imports and sources done."""
    from modelmill.build.identity import identifier
    from modelmill.build.prepare import prepare
    from modelmill.plan import plan
    from modelmill.store import Store

    work = folder / "thousand"
    work.mkdir()
    sources, targets = "", ""
    for number in range(10):
        make_checkpoint(work / f"model{number}", "llama", shape=Shape(layers=16), seed=number)
        sources += f'\n[source.s{number}]\nuri = "model{number}"\n'
        for count in range(100):
            scheme = SCHEMES[count % len(SCHEMES)]
            targets += f'\n[target.t{number}-{count}]\nsource = "s{number}"\nscheme = "{scheme}"\n'
    (work / "build.toml").write_text(HEAD + sources + DEFAULTS + targets)
    store = Store(work / "store")
    prepared = prepare(work / "build.toml", store)
    wanted = tuple(prepared.build.targets.values())
    hardware = {planned.target.hardware: planned.hardware for planned in prepared.plan.targets}
    requantize = dict.fromkeys(prepared.build.sources, False)
    found = []
    for _ in range(5):
        started = time.process_time()
        plan(wanted, prepared.states, prepared.registry, hardware, requantize, identifier(store, prepared.pinner))
        found.append(time.process_time() - started)
    steps = len(prepared.plan.steps)
    print(f"{'plan 1,000 targets over 10 sources, CPU':40} {statistics.median(found) * 1000:7.0f} ms  ({steps} steps)")


def seconds(command: Sequence[str], folder: Path) -> float:
    """How long a command takes that must succeed."""
    environment = {**os.environ, "MODELMILL_STORE": str(folder / "store")}
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
