"""`modelmill keys`: make and show signing keys."""

import os
from pathlib import Path

import click

from modelmill.build.sign import DEVELOPMENT, open_existing
from modelmill.cli import options, show
from modelmill.errors import ConfigError
from modelmill.registry import load
from modelmill_artifacts.keys import DEVELOPMENT_NOTE

PASSWORD = "MODELMILL_KEY_PASSWORD"  # noqa: S105 - the variable's name


@click.group()
def command() -> None:
    """Make and show signing keys."""


@command.command()
@click.argument("path")
@click.option("--encrypt", is_flag=True, help=f"Encrypt the key with the password in ${PASSWORD}.")
def new(path: str, encrypt: bool) -> None:
    """Write a new P-256 key to PATH (readable by you alone), and its public key beside it with the suffix .pub."""
    password = os.environ.get(PASSWORD) if encrypt else None
    if encrypt and not password:
        raise ConfigError(f"--encrypt takes the password from ${PASSWORD}, which is not set")
    create = load().signers["file"].record.create
    if create is None:
        raise ConfigError("the plugin that opens key files makes none")
    public = create(path, Path.cwd(), password)
    click.echo(f"private key {path}: keep it secret, and name it in build.toml as [sign] key = {path!r}")
    click.echo(f"public key {public.name}: give it to whoever verifies; sha256 {public.fingerprint}")


@command.command("show")
@click.argument("key", default=DEVELOPMENT)
@options.as_json
def show_key(key: str, as_json: bool) -> None:
    """Print the public key of KEY (a path or a signer's URI); of the development key if none is named."""
    public = open_existing(key, Path.cwd(), load()).public_key
    if as_json:
        show.document({"pem": public.pem.decode(), "sha256": public.fingerprint, "development": public.development})
    else:
        note = DEVELOPMENT_NOTE if public.development else b""  # by which it is known wherever it is kept
        click.echo((note + public.pem).decode(), nl=False)
