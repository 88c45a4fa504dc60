"""`modelmill schema`: the JSON Schema of build.toml."""

import click

from modelmill.cli import options, show
from modelmill.config.schema import schema
from modelmill.registry import load


@click.command()
@options.as_json
def command(*, as_json: bool) -> None:
    """Print the JSON Schema of build.toml, for editors to complete and check it; always JSON."""
    del as_json
    show.document(schema(load()))
