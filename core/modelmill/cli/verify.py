"""`modelmill verify`: whether an artifact or a release is what it says, and whose."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from modelmill.build.sign import DEVELOPMENT, open_existing
from modelmill.cli import options, show
from modelmill.cli.hashing import hashing
from modelmill.errors import SignError
from modelmill.registry import load
from modelmill_artifacts import keys, policy
from modelmill_artifacts.policy import Policy
from modelmill_artifacts.verify import Verified, VerifiedArtifact, verify


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-k", "--key", "key_paths", multiple=True, type=click.Path(path_type=Path), help="A public key to trust (PEM)."
)
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), help="A TOML file that says what may pass.")
@click.option("--development-keys", is_flag=True, help="Let development keys count, your own too.")
@click.option("--target", "targets", multiple=True, help="Of a release, a target that must be there, and no other.")
@click.option("--threads", type=click.IntRange(min=1), default=None, help="Files to hash at once.")
@options.as_json
def command(
    path: Path,
    key_paths: tuple[Path, ...],
    policy_path: Path | None,
    development_keys: bool,
    targets: tuple[str, ...],
    threads: int | None,
    as_json: bool,
) -> None:
    """Check the signatures, every file and every description of an artifact's or a release's folder.

    Nothing passes without a key to trust. A release is whole, or the part of it that was pulled or that --target names.
    """
    accepted = acceptance(key_paths, policy_path, development_keys=development_keys)
    with hashing(quiet=as_json) as note:
        found = verify(path, accepted, targets=targets or None, threads=threads or 0, progress=note)
    if as_json:
        show.document(_document(found))
        return
    for item in found.artifacts:
        name = f"{item.manifest.name} {item.manifest.version} {item.manifest.target}"
        click.echo(f"{name}: good; {item.files} files, {show.size(item.bytes)}, signed by {signed_by(item)}")
        for duty in item.obligations:
            click.echo(f"  {item.manifest.licence}: {duty}")
    if found.release is not None:
        click.echo(f"release {found.release.name} {found.release.version}: good{_part(found)}")


def acceptance(key_paths: tuple[Path, ...], policy_path: Path | None, *, development_keys: bool) -> Policy:
    """What the options of `verify` and `pull` accept."""
    trusted = tuple(keys.read(item) for item in key_paths)
    accepted = Policy(keys=()) if policy_path is None else policy.read(policy_path)
    if development_keys:
        try:
            trusted += (open_existing(DEVELOPMENT, Path.cwd(), load()).public_key,)
        except SignError:
            if not (trusted or accepted.keys):  # else another's development key is meant
                raise
    return replace(
        accepted,
        keys=(*accepted.keys, *trusted),
        development_keys=accepted.development_keys or development_keys,
    )


def _part(found: Verified) -> str:
    """What is said of a release that is not here as a whole."""
    if not found.missing:
        return ""
    count = len(found.artifacts) + len(found.missing)
    return f" in part; {len(found.artifacts)} of its {count} targets, without {', '.join(found.missing)}"


def signed_by(item: VerifiedArtifact) -> str:
    """Whose signature it is, in a few words."""
    kind = "the development key" if item.development else item.key_name
    return f"{kind} ({item.key[:16]}…)"


def _document(found: Verified) -> dict[str, Any]:
    return {
        "verified": True,
        "path": found.path,
        "release": None
        if found.release is None
        else {"name": found.release.name, "version": found.release.version, "missing": list(found.missing)},
        "artifacts": [
            {
                "path": item.path,
                "target": item.manifest.target,
                "key": item.key,
                "development": item.development,
                "files": item.files,
                "bytes": item.bytes,
                "licence": item.manifest.licence,
                "obligations": list(item.obligations),
            }
            for item in found.artifacts
        ],
    }
