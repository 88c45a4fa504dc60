"""The pages of docs/reference that say what the code says: written from it, and compared with it."""

import ast
import inspect
import typing
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import click
from public_face import public_face

from modelmill import cli, hookspecs, types
from modelmill.registry import load
from modelmill_artifacts import keys, signature

_TYPES = (types.model, types.hardware, types.steps, types.sources, types.delivery, types.signing)
_RECORDS = {
    node.name
    for module in _TYPES
    for node in ast.parse(inspect.getsource(module)).body
    if isinstance(node, ast.ClassDef)
}
HOOKS = [name for name in vars(hookspecs) if name.startswith("modelmill_")]
_KINDS = {"str": "string", "int": "whole number", "float": "number", "bool": "boolean"}
_VALUES = {
    "path": "PATH",
    "integer range": "N",
    "integer": "N",
    "float range": "SECONDS",
    "choice": "KIND",
    "text": "TEXT",
}

COMMAND_LINE = """# The command line

Exit codes: 0 done; 1 the build failed, or what was compared differs; 2 the input is wrong; 130 interrupted. `--help`
works on every command, and `--debug`, anywhere, shows the traceback of an error.

{commands}
## Environment

| variable | what |
|---|---|
| `MODELMILL_STORE` | the store, where `--store` names none |
| `XDG_CACHE_HOME` | the store is `modelmill` in it, where neither names one; else in `~/.cache` |
| `MODELMILL_KEY_PASSWORD` | the password of an encrypted key file |
| `MODELMILL_PIN`, `PYKCS11LIB` | PIN and module of a PKCS#11 token |
| `MODELMILL_REGISTRY_PASSWORD` | the password of `username` at a registry |
"""

OPTIONS = """# Options of the built-in plugins

A target's `options` in [build.toml](build-toml.md) go to the steps that have them. An option that is a recipe takes the
name of a TOML file, or the table itself.

{makers}
# Options of packagers

Each packager reads a table of [build.toml](build-toml.md), which others may read too;
[registries, images and deployments](registries-and-images.md) explains them.

{packagers}
# Options of remotes

Given to `modelmill publish` and `modelmill pull` as `--option NAME=VALUE`.

{remotes}"""

PLUGIN_HOOKS = """# Plugin hooks

A plugin is a Python package with an entry point in the group `modelmill`:

```toml
[project.entry-points.modelmill]
my-format = "modelmill_my_format"
```

Its module declares the version of the contract that it is written for, `MODELMILL_API = 1`, and implements some of the
hooks below. A hook takes no arguments, is called when plugins are loaded and again in the process of each step, and
returns frozen records that build.toml picks by name:

```python
from collections.abc import Iterable

from modelmill import HardwareProfile, hookimpl

MODELMILL_API = 1


@hookimpl
def modelmill_hardware() -> Iterable[HardwareProfile]:
    yield HardwareProfile(name="my-board", toml="...")
```

The laws, which `modelmill.testing` checks:

* `import` of the module, the hooks, `infer` and `estimate` load no heavy tool: numpy, torch and their like are imported
  where a step runs.
* Only what is in the job may influence a byte of the result: no clock, no random number, no absolute path, no order of
  a set, no number of threads.
* Bad input is `modelmill.ConvertError`, in one sentence; a source raises `SourceError`, a remote `RemoteError`, and a
  signer `SignError`. Any other exception is told as the plugin's fault, with its distribution and version.
* Two offers of one kind with the same name are an error when that name is used; the error names both distributions.
* A packager's options are a table of build.toml that it names and that is none of the file's own keys. It is checked
  with the rest of the file: unknown keys, wrong types and missing keys are told with their lines, all at once.

`modelmill.API_VERSION` is the version of this contract; [the public face](public-face.md) lists all of it, and says how
a plugin declares its version and how the contract changes. `modelmill.create(job, path)` opens a file of the result
that is hashed while it is written; `modelmill.checkpoint` reads checkpoints in bounded memory; `modelmill.recipe` reads
recipes.

## Hooks

{hooks}
## Records

All are frozen and take keywords only. A field with a value need not be given.

{records}"""


def command_line() -> str:
    """docs/reference/command-line.md, from the commands that click knows."""
    context = click.Context(cli.modelmill)
    return COMMAND_LINE.format(commands="\n".join("\n".join(_command(*item)) for item in commands(context)))


def commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command by the words that call it."""
    for name in cli.modelmill.list_commands(context):
        command = cli.modelmill.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", found) for sub, found in command.commands.items())
        elif command is not None:
            yield name, command


def options() -> str:
    """docs/reference/options.md, from the records of the built-in plugins."""
    registry = load()
    makers, packagers, remotes = [], [], []
    for _, offer in sorted(registry.makers(), key=lambda item: item[1].record.name):
        record = offer.record
        inputs = "".join(
            f" Its input `{name}` is {item.format}{', and must be there' if item.required else ''}."
            for name, item in record.inputs.items()
        )
        if not record.replaces and (inputs or fields(record.options)):
            takes, gives = getattr(record, "takes", ""), getattr(record, "gives", "")
            makers += [f"## `{record.name}`\n\n{takes} → {gives}.{inputs}", *_options(record.options)]
    for name in sorted(registry.packagers):
        packager = registry.packagers[name].record
        if fields(packager.options):
            head = f"## `modelmill {packager.verb} --as {name}`: `[{packager.table}]`"
            packagers += [head, *_options(packager.options)]
    for name in sorted(registry.remotes):
        remotes += [f"## `{name}`", *_options(registry.remotes[name].record.options)]
    told = {"makers": makers, "packagers": packagers, "remotes": remotes}
    return OPTIONS.format(**{kind: "\n\n".join(items) + "\n" for kind, items in told.items()})


def plugin_hooks() -> str:
    """docs/reference/plugin-hooks.md, from hookspecs and types."""
    hooks = []
    for name in HOOKS:
        hook = getattr(hookspecs, name)
        (record,) = {node.id for node in ast.walk(_returns(hook)) if isinstance(node, ast.Name)} & _RECORDS
        link = f"[{record}](#{record.lower()})"
        hooks.append(f"### `{signature_of(name)}`\n\n{inspect.getdoc(hook)} See {link}.\n")
    found = (_record(module, node) for module, names in _SHOWN for node in _classes(module, names))
    return PLUGIN_HOOKS.format(hooks="\n".join(hooks), records="\n".join(found))


def signature_of(name: str) -> str:
    """A hook as its definition has it."""
    return f"{name}() -> {ast.unparse(_returns(getattr(hookspecs, name)))}"


_SHOWN: tuple[tuple[ModuleType, tuple[str, ...] | None], ...] = (
    *((module, None) for module in _TYPES),
    (signature, ("Signer",)),
    (keys, ("PublicKey",)),
)


def _returns(hook: Any) -> ast.expr:
    (definition,) = ast.parse(inspect.getsource(hook)).body
    if not isinstance(definition, ast.FunctionDef) or definition.returns is None:
        raise TypeError(f"{hook} is no function with a return type")
    return definition.returns


def _classes(module: ModuleType, names: Iterable[str] | None) -> Iterator[ast.ClassDef]:
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and (names is None or node.name in names):
            yield node


def _record(module: ModuleType, node: ast.ClassDef) -> str:
    lines: list[str] = []
    told: list[str] = []
    for item in node.body:
        if isinstance(item, ast.AnnAssign):
            lines.append(ast.unparse(item))
        elif isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and lines:
            told.append(f"* `{lines[-1].partition(':')[0]}`: {_prose(str(item.value.value))}")
        elif isinstance(item, ast.FunctionDef):
            given = ast.unparse(item.args).removeprefix("self").removeprefix(", ")
            mark = "" if any(ast.unparse(found) == "property" for found in item.decorator_list) else f"({given})"
            told.append(f"* `{item.name}{mark}`: {_prose(ast.get_docstring(item) or '')}")
    bases = [ast.unparse(base) for base in node.bases if "Generic" not in ast.unparse(base)]
    head = f"### {node.name}\n\n{_prose(inspect.getdoc(getattr(module, node.name)) or '')}"
    more = [f"It has the fields of `{base}` too." for base in bases if base.partition("[")[0] in _RECORDS]
    block = ["```python\n" + "\n".join(lines) + "\n```"] if lines else []
    return "\n\n".join([head, *more, *block, *(["\n".join(told)] if told else [])]) + "\n"


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _command(name: str, command: click.Command) -> Iterator[str]:
    words = [name]
    for item in command.params:
        if isinstance(item, click.Argument):
            shown = item.metavar or (item.name or "").upper()
            words.append(shown if item.required or item.metavar else f"[{shown}]")
    yield f"## `modelmill {' '.join(words)}`\n"
    yield _prose(command.help or "").rstrip(".") + ".\n"
    found = [item for item in command.params if isinstance(item, click.Option)]
    if found:
        yield "| option | what |\n|---|---|"
        yield from map(_option, found)
        yield ""


def _option(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or _VALUES.get(option.type.name, option.type.name.upper())}"
    told = option.help or ""
    if isinstance(option.type, click.Choice):
        told += f" One of {', '.join(f'`{item}`' for item in option.type.choices)}."
    if option.show_default and option.default:
        told += f" Default: `{option.default}`."
    return f"| {', '.join(f'`{name}{value}`' for name in option.opts)} | {told} |"


def _options(record: Any) -> Iterator[str]:
    if not fields(record):
        return
    yield _prose(inspect.getdoc(record) or "")
    kinds = typing.get_type_hints(record)
    rows = [f"| `{item.name}` | {_kind(kinds[item.name])} | {_default(item)} |" for item in fields(record)]
    yield "\n".join(["| option | type | default |", "|---|---|---|", *rows])


def _kind(kind: Any) -> str:
    if isinstance(kind, type):
        return _KINDS.get(kind.__name__, kind.__name__.lower())
    parts = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return " or ".join(f'`"{part}"`' if isinstance(part, str) else f"`{part}`" for part in parts)
    if typing.get_origin(kind) is tuple:
        return "list of strings"
    return " or ".join(_kind(part) for part in parts if part is not type(None))


def _default(item: Field[Any]) -> str:
    if item.default is MISSING or item.default is None:
        return ""
    if isinstance(item.default, bool):
        return f"`{str(item.default).lower()}`"
    if isinstance(item.default, str):
        return f'`"{item.default}"`'
    return "`[]`" if item.default == () else f"`{item.default}`"


PAGES = {
    Path("docs/reference/public-face.md"): public_face,
    Path("docs/reference/command-line.md"): command_line,
    Path("docs/reference/options.md"): options,
    Path("docs/reference/plugin-hooks.md"): plugin_hooks,
}
"""Every page that is written from the code."""
