"""Releases to and from the remotes that plugins offer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from modelmill.config.profiles import offered
from modelmill.decode import DecodeError, decode
from modelmill.errors import ConfigError, ModelmillError, PluginError
from modelmill.hardware.machine import detect
from modelmill.hardware.schema import load_profile
from modelmill.hardware.suitability import suitability
from modelmill.registry import Offer, Registry
from modelmill.types import Hardware, Publication, Published, Pulled, PullJob, Remote
from modelmill_artifacts.signature import IN_TOTO, Signer, sign_statement

DEFAULT_SCHEME = "oci"


def find(reference: str, registry: Registry) -> tuple[Offer[Remote[Any]], str]:
    """The remote for a reference, and what follows its scheme; a reference without one is a registry's."""
    scheme, separator, rest = reference.partition("://")
    if not separator:
        scheme, rest = DEFAULT_SCHEME, reference
    if scheme not in registry.remotes:
        raise ConfigError(f"unknown kind of remote {scheme!r}; {registry.remotes.nearest(scheme, registry.remotes)}")
    return registry.remotes[scheme], rest


def settings(offer: Offer[Remote[Any]], given: tuple[str, ...], tables: Mapping[str, Any] | None = None) -> Any:
    """A remote's options from `NAME=VALUE` words and tables of build.toml; a list's word may come more than once.

    ConfigError for unknown names and values of the wrong kind.
    """
    table: dict[str, Any] = {name: tables[name] for name in offer.record.tables if tables and name in tables}
    hints = get_type_hints(offer.record.options)
    for word in given:
        name, separator, value = word.partition("=")
        if not separator:
            raise ConfigError(f"{word!r} is no option; write NAME=VALUE")
        if get_origin(hints.get(name)) is tuple:
            table[name] = [*table.get(name, []), _value(value)]
        else:
            table[name] = _value(value)
    try:
        return decode(offer.record.options, table)
    except DecodeError as error:
        raise ConfigError(f"options of {offer.record.scheme}: {error}") from error


def publish(
    offer: Offer[Remote[Any]],
    reference: str,
    release: Path,
    options: Any,
    signer: Signer | None,
    report: Callable[[str], None],
    root: Path,
) -> Published:
    """Publish a verified release; paths in the options are relative to `root`."""

    def sign(statement: bytes) -> bytes:
        if signer is None:
            raise ConfigError("there is no key to sign with")
        return sign_statement(IN_TOTO, statement, signer)

    job = Publication(
        release=release,
        reference=reference,
        options=options,
        root=root,
        sign=None if signer is None else sign,
        report=report,
    )
    published: Published = _call(offer, offer.record.publish, job)
    return published


def pull(
    remote: tuple[Offer[Remote[Any]], str],
    output: Path,
    scratch: Path,
    options: Any,
    verify: Callable[[Path, str], None],
    choice: Mapping[str, str | None],
    report: Callable[[str], None],
    suits: Callable[[str, str, str], str | None],
) -> Pulled:
    """Pull the artifact that `choice` names (by `target` or `profile`), or the one for this machine.

    `remote` is what `find` found.
    """
    offer, reference = remote
    if output.exists():
        raise ConfigError(f"{output} is there already; name a folder that is not")
    named = choice.get("target") or choice.get("profile")
    job = PullJob(
        reference=reference,
        output=output,
        scratch=scratch,
        options=options,
        verify=verify,
        target=choice.get("target"),
        profile=choice.get("profile"),
        hardware=None if named else Hardware(fields=detect()),
        report=report,
        suits=suits,
    )
    pulled: Pulled = _call(offer, offer.record.pull, job)
    return pulled


def verdicts(registry: Registry) -> Callable[[str, str, str], str | None]:
    """Tells what a profile says of a scheme of a format, as far as both are installed here; see PullJob."""
    texts = offered(registry)

    def suits(profile: str, model_format: str, scheme: str) -> str | None:
        if profile not in texts or model_format not in registry.formats:
            return None
        loaders = registry.formats[model_format].record.runtimes
        found = suitability(load_profile(profile, texts), loaders, scheme)
        return found.verdict if found else None

    return suits


def _call(offer: Offer[Remote[Any]], function: Callable[[Any], Any], job: Any) -> Any:
    try:
        return function(job)
    except ModelmillError:
        raise
    except Exception as error:
        raise PluginError(f"{offer.plugin}: {offer.record.scheme} failed: {type(error).__name__}: {error}") from error


def _value(text: str) -> Any:
    """A word of the command line as TOML would have it: true, 4, 0.5, else a string."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
