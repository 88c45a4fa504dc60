import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelmill.scaffold import new_plugin

RUN = "    architecture = facts(job.source).architecture\n"
FAULTS = {
    "is not deterministic": (
        "convert.py",
        RUN,
        "    (job.out / 'noise').write_bytes(__import__('os').urandom(16))\n" + RUN,
        "test_same_job_gives_same_bytes",
    ),
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
    "leaks a file": (
        "convert.py",
        RUN,
        "    (job.out.parent / 'leak').write_text('')\n" + RUN,
        "test_source_and_everything_but_out_stay_as_they_were",
    ),
    "mutates the source": (
        "convert.py",
        RUN,
        "    (job.source / 'config.json').touch()\n" + RUN,
        "test_source_and_everything_but_out_stay_as_they_were",
    ),
    "loads a heavy module at once": (
        "convert.py",
        "from typing import Literal\n",
        "from typing import Literal\n\nimport numpy as np  # noqa: F401\n",
        "test_importing_the_plugin_loads_no_heavy_module",
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
    "has an infer that is not pure": (
        "convert.py",
        'scheme="raw", tensors',
        "scheme=\"raw\", licence=str(__import__('os').getpid()), tensors",
        "test_infer_and_estimate_are_pure_and_load_no_tool",
    ),
    "raises whatever comes": (
        "convert.py",
        RUN,
        "    __import__('json').loads((job.source / 'config.json').read_text())\n" + RUN,
        "test_bad_input_is_refused_with_convert_error_and_nothing_else",
    ),
    "dies in native code": (
        "convert.py",
        RUN,
        "    __import__('os').kill(__import__('os').getpid(), 11)\n" + RUN,
        "test_same_job_gives_same_bytes",
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
