"""`modelmill new-plugin`: a plugin's repository to start from."""

from pathlib import Path

import click

from modelmill.cli import show
from modelmill.scaffold import KINDS, new_plugin


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="converter", show_default=True, help="What it offers.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(), help="Where; else here.")
def command(name: str, kind: str, folder: Path) -> None:
    """Write a complete, installable plugin whose tests pass as they are."""
    paths = new_plugin(name, kind, folder)
    root = min(paths, key=lambda path: len(path.parts)).parent
    click.echo(f"{show.relative(root)}: {len(paths)} files")
    click.echo(f"next: pip install -e '{show.relative(root)}[tools,test]' && pytest {show.relative(root)}")
