"""`modelmill diff`: what two artifacts, or two releases, do not have in common."""

import json
from pathlib import Path
from typing import Any

import click

from modelmill.cli import options, show
from modelmill.errors import ConfigError
from modelmill.inspection.compare import Difference, tensors
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
            click.echo(f"{item.kind} {item.name}: {_value(item.before)} → {_value(item.after)}")
        for tensor in differences:
            click.echo(str(tensor))
        if not changes and not differences:
            click.echo("no difference")
    return 1 if changes or differences else 0


def _value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _change(item: diff.Change) -> dict[str, Any]:
    return {"kind": item.kind, "name": item.name, "before": item.before, "after": item.after}


def _tensor(item: Difference) -> dict[str, Any]:
    return {"name": item.name, "before": item.before, "after": item.after, "error": item.error}
