"""Every hook that a plugin may implement: each an offer of records that build.toml picks by name."""

from collections.abc import Iterable
from typing import Any

import pluggy

from modelmill.types import Converter, Format, HardwareProfile, Packager, Quantizer, Remote, SignerOffer, Source

hookspec = pluggy.HookspecMarker("modelmill")


@hookspec
def modelmill_formats() -> Iterable[Format]:
    """The formats that this plugin owns."""
    return ()


@hookspec
def modelmill_converters() -> Iterable[Converter[Any]]:
    """Ways from one format to another."""
    return ()


@hookspec
def modelmill_quantizers() -> Iterable[Quantizer[Any]]:
    """Ways to make a model of one format smaller."""
    return ()


@hookspec
def modelmill_sources() -> Iterable[Source]:
    """Ways to reach a checkpoint, by URI scheme."""
    return ()


@hookspec
def modelmill_hardware() -> Iterable[HardwareProfile]:
    """Descriptions of device classes."""
    return ()


@hookspec
def modelmill_packagers() -> Iterable[Packager[Any]]:
    """Forms that deployment systems take."""
    return ()


@hookspec
def modelmill_remotes() -> Iterable[Remote[Any]]:
    """Places that releases are published to and pulled from, by URI scheme."""
    return ()


@hookspec
def modelmill_signers() -> Iterable[SignerOffer]:
    """Ways to sign, by the scheme of the key's URI."""
    return ()
