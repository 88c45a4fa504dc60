"""`modelmill pull`: the artifact for this machine, verified before it appears."""

import hashlib
from pathlib import Path

import click

from modelmill.build.prepare import store_folder
from modelmill.cli import options, show
from modelmill.cli.verify import acceptance
from modelmill.delivery.remote import find, pull, settings
from modelmill.registry import load
from modelmill_artifacts import part
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.verify import verify


@click.command()
@click.argument("reference")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A folder that does not exist.")
@click.option("--hardware", default="auto", show_default=True, help="A profile's name, or auto: this machine.")
@click.option("--target", help="A target's name, instead of choosing by hardware.")
@click.option(
    "-k", "--key", "key_paths", multiple=True, type=click.Path(path_type=Path), help="A public key to trust (PEM)."
)
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), help="A TOML file that says what may pass.")
@click.option("--development-keys", is_flag=True, help="Let development keys count, your own too.")
@click.option("-O", "--option", "given", multiple=True, metavar="NAME=VALUE", help="An option of the remote.")
@options.store
@options.as_json
def command(
    reference: str,
    output: Path,
    hardware: str,
    target: str | None,
    key_paths: tuple[Path, ...],
    policy_path: Path | None,
    development_keys: bool,
    given: tuple[str, ...],
    store_path: Path | None,
    as_json: bool,
) -> None:
    """Fetch from REFERENCE the one artifact that this machine, a profile or a target's name asks for."""
    registry = load()
    accepted = acceptance(key_paths, policy_path, development_keys=development_keys)
    offer, rest = find(reference, registry)
    scratch = store_folder(store_path) / "pulls" / hashlib.sha256(reference.encode()).hexdigest()
    scratch.mkdir(parents=True, exist_ok=True)

    def check(release: Path, chosen: str) -> None:
        try:
            found = verify(release, accepted, targets=[chosen])
        except ArtifactError as error:  # its folder is a hidden one that is gone when this is read
            said = str(error).replace(f"{release}/", f"{reference}: ").replace(str(release), reference)
            raise ArtifactError(said) from error
        if found.missing:
            part.write(release, [chosen])

    report = (lambda line: None) if as_json else (lambda line: click.echo(f"  {line}", err=True))  # noqa: ARG005
    choice = {"target": target, "profile": None if hardware == "auto" or target else hardware}
    done = pull(offer, rest, output, scratch, settings(offer, given), check, choice, report)
    if as_json:
        show.document(
            {
                "path": str(output),
                "target": done.target,
                "reason": done.reason,
                "digest": done.digest,
                "bytes_moved": done.bytes_moved,
            }
        )
    else:
        click.echo(f"{show.relative(output)}: {done.reason}")
