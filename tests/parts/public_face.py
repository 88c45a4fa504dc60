"""The page that lists the whole public face: written from the code, and so the golden file that it is compared with."""

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from modelmill import hookspecs
from modelmill.contract import API_VERSION, DECLARATION, DEPRECATED, PUBLIC

PAGE = """# The public face

All that a plugin may import, and all that it may implement: version {version} of the plugin contract. Whatever is not
listed here may change at any time. [Plugin hooks and records](plugin-hooks.md) explains the records; of the suites of
`modelmill.testing`, the tests themselves are not listed: new ones come with every version.

## How it changes

* A plugin's module declares the version that it was written for, as a number: `{declaration} = {version}`. One that
  declares another version than modelmill offers is refused, in a sentence that names both. One that declares none is
  taken to be of version 1.
* The version grows only when a plugin written for the one before may break. New names, new fields with a default and
  new hooks do not break a plugin and do not change the version: a plugin that needs them requires the version of
  modelmill that brought them, such as `modelmill>=0.2`.
* What will go is deprecated for at least one minor version before. A build then warns of it, with the name of the
  plugin's distribution and what to write instead; a name that a step alone uses is warned of in the step's log.
* A test compares this page with the code, so that nothing of it changes unseen, and another the code with the last
  release, so that nothing goes unannounced.

{deprecated}
## Hooks

```python
{hooks}
```

{modules}"""


def public_face() -> str:
    """docs/reference/public-face.md, from the modules that are public."""
    hooks = [found for name in vars(hookspecs) if name.startswith("modelmill_") for found in _shown(hookspecs, name)]
    gone = [f"* `{name}`: since {item.since}, gone in {item.removed}; {item.instead}." for name, item in _deprecated()]
    return PAGE.format(
        version=API_VERSION,
        declaration=DECLARATION,
        deprecated="\n".join(["## Deprecated", "", *(gone or ["Nothing."]), ""]),
        hooks="\n".join(hooks),
        modules="\n".join(map(_module, PUBLIC)),
    )


def _deprecated() -> list[tuple[str, Any]]:
    return sorted(DEPRECATED.items())


def _module(name: str) -> str:
    module = importlib.import_module(name)
    lines = [line for item in names(module) for line in _shown(module, item)]
    bases = {base.__name__: line for item in names(module) for base, line in _bases(getattr(module, item))}
    more = ["", "# What some of these inherit from:", *(bases[base] for base in sorted(bases))] if bases else []
    return f"## `{name}`\n\n```python\n" + "\n".join([*lines, *more]) + "\n```\n"


def names(module: ModuleType) -> list[str]:
    """The public names of a module: those that it lists, else those that it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (getattr(value, "__module__", None) == module.__name__ or (name.isupper() and isinstance(value, int | str)))
    )


def _bases(value: Any) -> Iterator[tuple[type, str]]:
    """The classes that a public one inherits from, where no module lists them."""
    listed = {name for item in PUBLIC for name in names(importlib.import_module(item))}
    for base in value.__mro__[1:] if inspect.isclass(value) else ():
        if base.__module__.startswith("modelmill") and base.__name__ not in listed:
            yield base, "\n".join(_shown(sys.modules[base.__module__], base.__name__))


def _shown(module: ModuleType, name: str) -> Iterator[str]:
    value = getattr(module, name)
    if inspect.isclass(value):
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
        yield from _class(node) if isinstance(node, ast.ClassDef) else ()
    elif inspect.isfunction(value):
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
        yield from _function(node) if isinstance(node, ast.FunctionDef) else ()
    elif isinstance(value, int | float | str):
        yield f"{name} = {value!r}"
    else:
        yield f"{name}: {type(value).__name__}"


def _class(node: ast.ClassDef) -> Iterator[str]:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    body = [line for item in node.body for line in _member(item)]
    yield f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    yield from (f"    {line}" for line in body or ["..."])


def _member(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
        yield ast.unparse(node)
    elif isinstance(node, ast.FunctionDef) and (node.name == "__init__" or not node.name.startswith(("_", "test_"))):
        yield from _function(node)


def _function(node: ast.FunctionDef) -> Iterator[str]:
    yield from (f"@{ast.unparse(item)}" for item in node.decorator_list if ast.unparse(item) != "hookspec")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    yield f"def {node.name}({ast.unparse(node.args)}){returns}"
