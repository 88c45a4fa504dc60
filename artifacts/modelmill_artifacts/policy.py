"""What a verifier accepts: whose signatures, and which licences, formats and builders."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelmill_artifacts import keys, licence, record
from modelmill_artifacts.errors import ArtifactError, InputError
from modelmill_artifacts.keys import PublicKey
from modelmill_artifacts.manifest import Manifest
from modelmill_artifacts.record import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What must hold of an artifact for it to pass. Without a key nothing passes.

    `licenses` None allows every licence that `deny_licenses` does not name, also none at all. `builders` None
    allows every builder; else all that took part must be named, as `NAME` or `NAME==VERSION`. `name` and
    `version` are those that the release must have: without a `version`, an older release with its own valid
    signature passes too.
    """

    keys: tuple[PublicKey, ...]
    development_keys: bool = False
    licenses: tuple[str, ...] | None = None
    deny_licenses: tuple[str, ...] = ()
    deny_formats: tuple[str, ...] = ()
    builders: tuple[str, ...] | None = None
    experimental: bool = False
    name: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """A policy as its TOML file has it: keys are files of public keys, relative to the policy's own folder."""

    keys: tuple[Text, ...]
    development_keys: bool = False
    licenses: tuple[Text, ...] | None = None
    deny_licenses: tuple[Text, ...] = ()
    deny_formats: tuple[Text, ...] = ()
    builders: tuple[Text, ...] | None = None
    experimental: bool = False
    name: Text | None = None
    version: Text | None = None


def read(path: Path) -> Policy:
    """The policy in a TOML file. Raises InputError for an unknown key, a wrong type and a key that is none."""
    import tomllib

    try:
        value: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the policy {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    try:
        found = record.read(PolicyFile, value, str(path), defaults=True)
    except ArtifactError as error:
        raise InputError(str(error)) from error
    return Policy(
        keys=tuple(keys.read(path.parent / item) for item in found.keys),
        development_keys=found.development_keys,
        licenses=found.licenses,
        deny_licenses=found.deny_licenses,
        deny_formats=found.deny_formats,
        builders=found.builders,
        experimental=found.experimental,
        name=found.name,
        version=found.version,
    )


def trusted(policy: Policy) -> tuple[PublicKey, ...]:
    """The keys whose signatures count. Raises InputError where there is none."""
    found = tuple(key for key in policy.keys if policy.development_keys or not key.development)
    if policy.keys and not found:
        raise InputError(
            f"{policy.keys[0].name} is a development key, which proves nothing about who signed; "
            "add --development-keys (in a policy development_keys = true) to accept it all the same"
        )
    if not found:
        raise InputError("no key is trusted, so nothing can pass; give a public key or a policy with keys")
    if policy.development_keys:  # a key that was copied without its note is the same key
        found += tuple(replace(key, development=True) for key in found if not key.development)
    return found


def check(policy: Policy, manifest: Manifest, where: str) -> None:
    """Refuse an artifact that the policy does not accept for what its manifest says of it.

    Raises ArtifactError that names the rule.
    """
    if manifest.format in policy.deny_formats:
        raise ArtifactError(f"{where}: the policy forbids the format {manifest.format!r}")
    if manifest.flags.experimental and not policy.experimental:
        raise ArtifactError(f"{where}: marked experimental; a policy with `experimental = true` lets it pass")
    for what, wanted, found in (("name", policy.name, manifest.name), ("version", policy.version, manifest.version)):
        if wanted is not None and wanted != found:
            raise ArtifactError(f"{where}: its {what} is {found!r}, and the policy wants {wanted!r}")
    check_licence(manifest.licence, policy.licenses, policy.deny_licenses, where)


def check_licence(
    stated: str | None, allow: tuple[str, ...] | None, deny: tuple[str, ...] = (), where: str = "licence"
) -> None:
    """Refuse a licence that is not allowed, or denied; no licence at all where only some are allowed.

    Raises ArtifactError that says which licence was found and which are allowed.
    """
    if stated is None:
        if allow is not None:
            raise ArtifactError(f"{where}: states no licence, and the policy allows only {', '.join(allow)}")
        return
    if not licence.allowed(stated, allow, deny):
        only = "" if allow is None else f"; it allows {', '.join(allow) or 'none'}"
        raise ArtifactError(f"{where}: the policy does not allow the licence {stated!r}{only}")


def check_builders(policy: Policy, builders: tuple[tuple[str, str], ...], where: str) -> None:
    """Refuse provenance with a builder that the policy does not name. Raises ArtifactError that names it."""
    if policy.builders is None:
        return
    for name, version in builders:
        if name not in policy.builders and f"{name}=={version}" not in policy.builders:
            raise ArtifactError(
                f"{where}: built by {name} {version}; the policy allows only {', '.join(policy.builders) or 'none'}"
            )
