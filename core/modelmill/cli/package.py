"""`modelmill package` and `modelmill deploy`: an artifact in a form that a deployment system takes."""

import tempfile
from pathlib import Path
from typing import Any

import click

from modelmill.cli import options, show
from modelmill.config import read
from modelmill.delivery.package import package_target, packager
from modelmill.registry import load as load_registry


@click.command()
@click.argument("target")
@click.option("--as", "form", required=True, help="The form: one that `modelmill plugins` lists as packager.")
@options.build_file
@click.option("--dist", type=click.Path(path_type=Path), help="Instead of dist/ beside the build file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where; else dist/packages/… beside it.")
@click.option("--load", is_flag=True, help="Put it into a local engine instead of a folder.")
@options.as_json
def command(
    target: str,
    form: str,
    file: Path,
    store_path: Path | None,
    dist: Path | None,
    output: Path | None,
    load: bool,
    as_json: bool,
) -> None:
    """Package the built artifact of TARGET."""
    run("package", target, form, file, dist, output, load=load, as_json=as_json)
    del store_path


def run(
    verb: str,
    target: str,
    form: str,
    file: Path,
    dist: Path | None,
    output: Path | None,
    *,
    load: bool,
    as_json: bool,
) -> None:
    """Package with one of the packagers of a verb, and tell where."""
    registry = load_registry()
    build = read(file, registry)
    offer = packager(registry, verb, form)
    with tempfile.TemporaryDirectory(prefix="modelmill-") as scratch:
        folder = output
        if folder is None:
            base = dist or build.path.absolute().parent / "dist"
            name = f"{build.project.name}-{build.project.version}-{target}-{form}"
            folder = Path(scratch) / "package" if load else base / "packages" / name
        package_target(registry, offer, build, target, dist, folder)
        if load:
            if offer.record.load is None:
                raise click.UsageError(f"{form} cannot be loaded into an engine")
            loaded = offer.record.load(folder)
            told: dict[str, Any] = {"form": form, "target": target, "loaded": loaded}
        else:
            told = {"form": form, "target": target, "path": str(folder)}
    if as_json:
        show.document(told)
    else:
        click.echo(told.get("loaded") or show.relative(Path(told["path"])))
