"""What the tests of this repository try with the conformance kit, read from their sources."""

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelmill import testing

IN_EVERY_RUN = {"MODELMILL_TEST_TOOLCHAINS"}
"""The variables that `tests/run.py` sets: what waits for another one is not tried in every run."""


def suites() -> Mapping[str, str]:
    """Every suite of the kit, with the hook whose records it tries."""
    return {name: getattr(testing, name).hook for name in testing.__all__ if name.endswith("Suite")}


@functools.cache
def tried() -> frozenset[tuple[str, str]]:
    """Every hook and name that some test class in these tests tries with the suite for it, in every run."""
    paths = Path(__file__).parent.parent.rglob("test_*.py")
    return frozenset(found for path in paths for found in tried_in(path.read_text("utf-8")))


def tried_in(text: str) -> Iterator[tuple[str, str]]:
    """Those of one module; of a suite that tries all of a plugin's records, the hook and the plugin."""
    module = ast.parse(text)
    names = {ast.unparse(item.targets[0]): item.value for item in module.body if isinstance(item, ast.Assign)}
    if any(map(functools.partial(_waits, names=names), _gates(module))):
        return
    kinds = dict(suites())
    waiting: set[str] = set()
    for item in ast.walk(module):
        if not isinstance(item, ast.ClassDef):
            continue
        bases = [base.id for base in item.bases if isinstance(base, ast.Name)]
        hook = next((kinds[base] for base in bases if base in kinds), None)
        if waiting.intersection(bases) or any(_waits(gate, names) for gate in _gates(item)):
            waiting.add(item.name)
        if hook is None:
            continue
        kinds[item.name] = hook
        if item.name.startswith("Test") and item.name not in waiting:
            yield from ((hook, name) for name in _names(item, "plugin" if hook == "hardware" else "name"))


def _names(item: ast.ClassDef, what: str) -> Iterator[str]:
    for line in item.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) in {what, "scheme"}:
            yield ast.literal_eval(line.value)


def _gates(item: ast.Module | ast.ClassDef) -> Iterator[ast.AST]:
    """What may skip a class or a module: its marks, and what a module does before its tests."""
    yield from item.decorator_list if isinstance(item, ast.ClassDef) else ()
    for line in item.body:
        if isinstance(line, ast.If | ast.Expr):
            yield line
        elif isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "pytestmark":
            yield line.value


def _waits(gate: ast.AST, names: Mapping[str, ast.expr]) -> bool:
    """Whether a gate skips always, or without a variable that not every run sets."""
    used = [names[item.id] for item in ast.walk(gate) if isinstance(item, ast.Name) and item.id in names]
    text = " ".join(map(ast.unparse, (gate, *used)))
    if re.search(r"\bmark\.skip\b", text):
        return True
    if not re.search(r"\bskip(if)?\b", text) or not re.search(r"\b(environ|getenv)\b", text):
        return False
    constants = (item.value for part in (gate, *used) for item in ast.walk(part) if isinstance(item, ast.Constant))
    variables = {value for value in constants if isinstance(value, str) and re.fullmatch(r"[A-Z][A-Z0-9_]+", value)}
    return not variables <= IN_EVERY_RUN
