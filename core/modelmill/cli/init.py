"""`modelmill init`: a first build file."""

import sys
from pathlib import Path

import click

from modelmill.cli import options, show
from modelmill.errors import ConfigError
from modelmill.hardware.machine import detect
from modelmill.registry import load
from modelmill.scaffold.starter import Wish, starter


@click.command()
@click.argument("model", required=False)
@click.option("-f", "--file", type=click.Path(path_type=Path), default=Path("build.toml"), help="The file to write.")
@click.option("--name", help="What the artifacts are called; else after the model.")
@click.option("--format", "shape", help="The artifact's format.")
@click.option("--scheme", help="The quantization, in the format's own words.")
@click.option("--hardware", help="The hardware profile; else the one that this machine implements.")
@options.as_json
def command(
    model: str | None,
    file: Path,
    name: str | None,
    shape: str | None,
    scheme: str | None,
    hardware: str | None,
    as_json: bool,
) -> None:
    """Write a commented build file for MODEL, a folder or a URI, and this machine. Never overwrites one."""
    if file.exists():
        raise ConfigError(f"{file}: is there already, and is not overwritten; --file names another")
    if model is None:
        if not sys.stdin.isatty():
            raise ConfigError("name the model: modelmill init MODEL, a folder or a URI such as hf://OWNER/NAME")
        model = click.prompt("Model (a folder, or a URI such as hf://OWNER/NAME)", err=True)
    wish = Wish(model=model, name=name, format=shape, scheme=scheme, hardware=hardware)
    text = starter(wish, file, load(), detect())
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise ConfigError(f"{file}: is there already, and is not overwritten; --file names another") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror})") from error
    if as_json:
        show.document({"file": str(file)})
    else:
        click.echo(f"{show.relative(file)} is written; next: modelmill plan, modelmill build")
