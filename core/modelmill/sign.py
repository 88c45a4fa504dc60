"""The key that `[sign]` names, opened by the plugin that knows its kind."""

from pathlib import Path

from modelmill.config import Build
from modelmill.errors import ModelmillError, PluginError
from modelmill.registry import Registry
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
    scheme, colon, rest = key.partition(":")
    if not colon:
        scheme, rest = "file", key
    offer = registry.signers[scheme]
    try:
        return offer.record.open(rest, base)
    except ModelmillError:
        raise
    except Exception as error:
        raise PluginError(f"{offer.plugin}: signer {scheme!r} failed: {type(error).__name__}: {error}") from error


def key_files(build: Build) -> tuple[Path, ...]:
    """The files that a build's key lies in, as far as its URI tells: what else a signature depends on."""
    key = build.sign.key
    if key is None or build.sign.mode == "none":
        return ()
    scheme, colon, rest = key.partition(":")
    if colon and scheme != "file":
        return ()
    return (build.path.absolute().parent / Path(rest if colon else key).expanduser(),)
