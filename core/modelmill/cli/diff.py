"""`modelmill diff`: what two artifacts, or two releases, do not have in common."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from modelmill.cli import options, show
from modelmill.errors import ConfigError
from modelmill.inspection.compare import Difference, tensors
from modelmill.printable import printable, short
from modelmill.registry import load
from modelmill_artifacts import diff, manifest, release


@click.command()
@click.argument("before", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("after", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--tensors", "with_tensors", is_flag=True, help="Compare the tensors' types and bytes too.")
@click.option("--error", "with_error", is_flag=True, help="And the error of each tensor's values.")
@options.as_json
def command(before: Path, after: Path, with_tensors: bool, with_error: bool, as_json: bool) -> int:
    """Compare two artifacts' or two releases' folders; the exit code is 1 where they differ."""
    differences: list[Difference] = []
    if (before / release.RELEASE).exists() and (after / release.RELEASE).exists():
        if with_tensors or with_error:
            raise ConfigError("tensors are compared between two artifacts; name a target's folder in each release")
        changes = diff.releases(release.read(before), release.read(after))
    elif (before / manifest.MANIFEST).exists() and (after / manifest.MANIFEST).exists():
        old, new = manifest.read(before), manifest.read(after)
        changes = diff.manifests(old, new)
        if with_tensors or with_error:
            formats = load().formats
            differences = tensors(formats[old.format], before, formats[new.format], after, error=with_error)
    else:
        raise ConfigError(f"{before} and {after} are neither two artifacts nor two releases")
    if as_json:
        show.document({"changes": [_change(item) for item in changes], "tensors": [_tensor(t) for t in differences]})
    else:
        for item in changes:
            for line in lines(item):
                click.echo(line)
        for tensor in differences:
            click.echo(str(tensor))
        if not changes and not differences:
            click.echo("no difference")
    return 1 if changes or differences else 0


def lines(item: diff.Change) -> Iterator[str]:
    """A change as people read it: of two tables what differs in them, a line each."""
    told = f"{item.kind} {printable(item.name)}"
    for path, old, new in diff.leaves(item.before, item.after):
        where = f", {printable('.'.join(path))}" if path else ""
        yield f"{told}{where}: {_value(old)} → {_value(new)}"


def _value(value: Any) -> str:
    if value is diff.MISSING:
        return "not there"
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        plain = {key: item for key, item in sorted(value.items()) if not isinstance(item, Mapping)}
        return ", ".join(f"{key} {_value(item)}" for key, item in plain.items())
    return short(value)


def _change(item: diff.Change) -> dict[str, Any]:
    return {"kind": item.kind, "name": item.name, "before": item.before, "after": item.after}


def _tensor(item: Difference) -> dict[str, Any]:
    return {"name": item.name, "before": item.before, "after": item.after, "error": item.error}
