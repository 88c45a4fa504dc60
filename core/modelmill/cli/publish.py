"""`modelmill publish`: a built release to a registry."""

import tomllib
from pathlib import Path

import click

from modelmill.build.sign import DEVELOPMENT, open_existing
from modelmill.cli import options, show
from modelmill.config import Build, read
from modelmill.delivery.remote import find, publish, settings
from modelmill.errors import ConfigError
from modelmill.registry import Registry, load
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.signature import Signer
from modelmill_artifacts.verify import verify


@click.command()
@click.argument("reference")
@options.build_file
@click.option("--dist", type=click.Path(path_type=Path), help="Instead of dist/ beside the build file.")
@click.option("--development-keys", is_flag=True, help="Publish also what a development key signed.")
@click.option("-O", "--option", "given", multiple=True, metavar="NAME=VALUE", help="An option of the remote.")
@options.as_json
def command(
    reference: str,
    file: Path,
    store_path: Path | None,
    dist: Path | None,
    development_keys: bool,
    given: tuple[str, ...],
    as_json: bool,
) -> None:
    """Publish the built release to REFERENCE, such as registry.example/team/model:1.0.0."""
    del store_path
    registry = load()
    build = read(file, registry)
    release = (dist or build.path.absolute().parent / "dist") / build.project.name / build.project.version
    if not (release / "release.json").is_file():
        raise ConfigError(f"{release}: no finished release; run `modelmill build`")
    signer = None if build.sign.mode == "none" else _signer(build, registry, development_keys=development_keys)
    if signer is None:
        show.warn(f"the release is not signed ([sign] mode of {build.path.name}), so nobody can tell who made it")
    else:
        checked = verify(release, Policy(keys=(signer.public_key,), development_keys=True, experimental=True))
        if checked.missing:
            raise ConfigError(f"{release}: holds a part of the release, without {', '.join(checked.missing)}; build it")
    offer, rest = find(reference, registry)
    report = (lambda line: None) if as_json else (lambda line: click.echo(f"  {line}", err=True))  # noqa: ARG005
    chosen = settings(offer, given, tomllib.loads(build.text))
    done = publish(offer, rest, release, chosen, signer, report, build.path.absolute().parent)
    if as_json:
        show.document(
            {
                "reference": done.reference,
                "digest": done.digest,
                "bytes_moved": done.bytes_moved,
                "bytes_skipped": done.bytes_skipped,
            }
        )
    else:
        moved, skipped = show.size(done.bytes_moved), show.size(done.bytes_skipped)
        click.echo(f"{done.reference}: {moved} moved, {skipped} there already")
        click.echo(f"digest {done.digest}")


def _signer(build: Build, registry: Registry, *, development_keys: bool) -> Signer:
    """The build's key, and never a new one: what lies in dist/ was not signed by it.

    ConfigError for a development key that is not allowed: a version that it signed is used up, and verifies for nobody.
    """
    key = build.sign.key or DEVELOPMENT
    if development_keys or not key.startswith(DEVELOPMENT):
        signer = open_existing(key, build.path.absolute().parent, registry)
        if development_keys or not signer.public_key.development:
            return signer
    raise ConfigError(
        f"{build.path.name}: the release is signed by a development key, which proves nothing about who signed, "
        "and a published version never changes; name a key in [sign] key and build again, or add --development-keys"
    )
