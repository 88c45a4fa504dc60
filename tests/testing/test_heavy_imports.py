"""What the kit takes for a heavy import: native code, and much of anybody's Python, whatever it is called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelmill.scaffold import new_plugin
from modelmill.testing.weight import LIMIT

CODE = (
    "import importlib, sys; from modelmill.testing.weight import heavy; before = set(sys.modules);"
    "[importlib.import_module(name) for name in sys.argv[1:]]; print(*heavy(before, 'mine'))"
)
SITE = {
    "compiled/__init__.py": "",
    "compiled/kernels.so": "",
    "by_ctypes/__init__.py": "",
    "by_ctypes/lib/libmill.so.3": "",
    "small/__init__.py": "import json",
    "large/__init__.py": "import large.text",
    "large/text.py": "#" * LIMIT,
    "one.py": "#" * (LIMIT // 2),
    "two.py": "#" * (LIMIT // 2 + 1),
    "mine/__init__.py": "import small",
    "mine/kernels.so": "",
    "mine/text.py": "#" * LIMIT,
}


@pytest.mark.parametrize(
    ("modules", "wanted"),
    [
        (("compiled",), "compiled"),
        (("by_ctypes", "small"), "by_ctypes"),
        (("large",), "large"),
        (("small",), ""),
        (("one",), ""),
        (("one", "two"), "one two"),
        (("mine", "mine.text"), ""),
        (("sqlite3", "xml.dom", "asyncio"), ""),  # the standard library's own native code
        (("modelmill.checkpoint", "modelmill.recipe", "modelmill_artifacts.manifest", "modelmill"), ""),
        (("numpy",), "numpy"),
    ],
)
def test_native_code_and_much_of_python_are_heavy(modules: tuple[str, ...], wanted: str, tmp_path: Path) -> None:
    for path, text in SITE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", CODE, *modules]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == wanted


def test_a_tool_that_planning_loads_for_one_scheme_of_several_is_found(tmp_path: Path) -> None:
    new_plugin("slow", "converter", tmp_path)
    folder = tmp_path / "modelmill-slow"
    package = folder / "modelmill_slow"
    model, convert = (package / "model.py").read_text(), (package / "convert.py").read_text()
    (package / "model.py").write_text(model.replace('("raw",)', '("raw", "cooked")'))
    line = "    tensors = _ordered(outlook.facts.tensors, outlook.options)\n    size ="
    assert convert.count(line) == 1
    lazy = "    if outlook.scheme == 'cooked':\n        __import__('numpy')\n"
    (package / "convert.py").write_text(convert.replace(line, lazy + line))
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    own = ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base"), "-k", "load_no_tool"]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *own, "tests"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert "infer and estimate run in the engine, which must start fast, and load numpy" in done.stdout
