"""`modelmill pull`: the artifact for this machine, verified before it appears."""

import hashlib
from pathlib import Path

import click

from modelmill.artifact.usage import WEIGHTS
from modelmill.cli import options, show
from modelmill.cli.verify import acceptance, signed_by
from modelmill.delivery.remote import find, pull, settings, verdicts
from modelmill.errors import PluginError
from modelmill.registry import load
from modelmill.store import store_folder
from modelmill_artifacts import part
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.verify import VerifiedArtifact, verify


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

    passed: list[VerifiedArtifact] = []
    lines: list[str] = []

    def check(release: Path, chosen: str) -> None:
        try:
            found = verify(release, accepted, targets=[chosen])
        except ArtifactError as error:  # its folder is a hidden one that is gone when this is read
            said = str(error).replace(f"{release}/", f"{reference}: ").replace(str(release), reference)
            raise ArtifactError(said) from error
        if found.missing:
            part.write(release, [chosen])
        passed.extend(found.artifacts)

    def report(line: str) -> None:
        lines.append(line)
        if not as_json:
            click.echo(f"  {line}", err=True)

    choice = {"target": target, "profile": None if hardware == "auto" or target else hardware}
    done = pull((offer, rest), output, scratch, settings(offer, given), check, choice, report, verdicts(registry))
    if not passed:
        raise PluginError(f"{offer.plugin}: left {output} without having it verified; do not use it")
    model = output / _model(passed[0])
    if as_json:
        show.document(
            {
                "path": str(output),
                "model": str(model),
                "key": passed[0].key,
                "target": done.target,
                "reason": done.reason,
                "digest": done.digest,
                "bytes_moved": done.bytes_moved,
            }
        )
    else:
        if done.reason not in lines:
            click.echo(done.reason)
        click.echo(f"{show.relative(model)}: verified, signed by {signed_by(passed[0])}")


def _model(found: VerifiedArtifact) -> str:
    """The file that holds the model, in the pulled folder; the artifact's own folder where several do."""
    folder = Path(found.path).name
    weights = [file.path for file in found.manifest.files if Path(file.path).suffix in WEIGHTS]
    return f"{folder}/{weights[0]}" if len(weights) == 1 else folder
