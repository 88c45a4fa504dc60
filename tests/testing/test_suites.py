import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelmill.scaffold import new_plugin

RUN = "    architecture = facts(job.source).architecture\n"
FAULTS = {
    "depends on the environment": (
        "convert.py",
        RUN,
        "    (job.out / 'zone').write_text(__import__('os').environ.get('TZ', ''))\n" + RUN,
        "test_bytes_do_not_depend_on[environment]",
    ),
    "depends on the order of a set": (
        "convert.py",
        RUN,
        "    (job.out / 'names').write_text(' '.join({str(n) + 'x' for n in range(99)}))\n" + RUN,
        "test_bytes_do_not_depend_on[environment]",
    ),
    "depends on the place": (
        "convert.py",
        RUN,
        "    (job.out / 'where').write_text(str(job.source))\n" + RUN,
        "test_bytes_do_not_depend_on[place]",
    ),
    "depends on the number of threads": (
        "convert.py",
        RUN,
        "    (job.out / 'threads').write_text(str(job.limits.threads))\n" + RUN,
        "test_bytes_do_not_depend_on[threads]",
    ),
    "predicts other tensors than come out": (
        "convert.py",
        "tensors=tensors, files",
        "tensors=tensors[1:], files",
        "test_every_scheme_gives_what_infer_and_estimate_say[raw]",
    ),
    "estimates half of what it writes": (
        "convert.py",
        "bytes_out=size",
        "bytes_out=size // 2",
        "test_every_scheme_gives_what_infer_and_estimate_say[raw]",
    ),
    "takes a damaged model for a sound one": (
        "model.py",
        "    facts(folder)\n",
        "    (folder / FILE).stat()\n",
        "test_validate_finds_a_file_cut_short",
    ),
    "has options that cannot be a key": (
        "convert.py",
        "@dataclass(frozen=True)\n",
        "@dataclass\n",
        "test_record_says_what_it_is",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_kit_catches_a_plugin_that(fault: str, tmp_path: Path) -> None:
    file, sound, broken, wanted = FAULTS[fault]
    new_plugin("broken", "converter", tmp_path)
    folder = tmp_path / "modelmill-broken"
    module = folder / "modelmill_broken" / file
    text = module.read_text()
    assert sound in text
    module.write_text(text.replace(sound, broken, 1))
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    name = wanted.partition("[")[0]
    own = ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base")]
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=short", *own, "-k", name, "tests"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert any(f"::{wanted}" in line for line in failed), done.stdout + done.stderr
