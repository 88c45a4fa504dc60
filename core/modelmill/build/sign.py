"""The key that `[sign]` names, opened by the plugin that knows its kind."""

from pathlib import Path

from modelmill.config import Build
from modelmill.errors import ModelmillError, PluginError, SignError
from modelmill.registry import Offer, Registry
from modelmill.types import SignerOffer
from modelmill_artifacts.hashing import sha256_file
from modelmill_artifacts.signature import Signer

DEVELOPMENT = "development:"
"""Where no key is named: a key of this user's own, which `verify` trusts only when it is asked to."""


def open_signer(build: Build, registry: Registry) -> Signer | None:
    """The signer of a build; None where it says `mode = "none"`. Raises SignError for a key that cannot be opened."""
    if build.sign.mode == "none":
        return None
    return open_key(build.sign.key or DEVELOPMENT, build.path.absolute().parent, registry)


def open_key(key: str, base: Path, registry: Registry) -> Signer:
    """The signer for a key's URI; a plain path is a PEM file."""
    offer, rest = _offer(key, registry)
    try:
        return offer.record.open(rest, base)
    except ModelmillError:
        raise
    except Exception as error:
        raise PluginError(
            f"{offer.plugin}: signer {offer.record.scheme!r} failed: {type(error).__name__}: {error}"
        ) from error


def open_existing(key: str, base: Path, registry: Registry) -> Signer:
    """As `open_key`, but SignError for a development key that is not there: only a build makes one."""
    offer, rest = _offer(key, registry)
    if key.startswith(DEVELOPMENT) and offer.record.files is not None:
        for file in offer.record.files(rest, base):
            if not file.is_file():
                raise SignError(f"there is no development key at {file} yet; a build without [sign] key makes one")
    return open_key(key, base, registry)


def key_warnings(build: Build, registry: Registry) -> tuple[str, ...]:
    """What a build would stop at for want of a key: a file that is made on purpose, once, and is not there."""
    if build.sign.mode == "none" or build.sign.key is None or _offer(build.sign.key, registry)[0].record.create is None:
        return ()
    lacking = [file for file in key_files(build, registry) or () if not file.is_file()]
    return tuple(
        f"{build.path.name}: [sign] key {build.sign.key!r} is not there, and `modelmill build` needs it; "
        f"`modelmill keys new {file}` makes one"
        for file in lacking
    )


def key_files(build: Build, registry: Registry) -> tuple[Path, ...] | None:
    """The files that a build's key follows from; None where it may change without a file doing so."""
    if build.sign.mode == "none":
        return ()
    offer, rest = _offer(build.sign.key or DEVELOPMENT, registry)
    return None if offer.record.files is None else offer.record.files(rest, build.path.absolute().parent)


def key_digests(build: Build, registry: Registry) -> dict[str, str]:
    """The digests of those files, by name: a key may be another under the same name."""
    return {file.name: sha256_file(file) for file in key_files(build, registry) or () if file.is_file()}


def _offer(key: str, registry: Registry) -> tuple[Offer[SignerOffer], str]:
    scheme, colon, rest = key.partition(":")
    if not colon:
        scheme, rest = "file", key
    return registry.signers[scheme], rest
