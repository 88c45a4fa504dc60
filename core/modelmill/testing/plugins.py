"""Records found by name: in the plugin under test first, then among all that are installed."""

import importlib
import re
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Literal

from modelmill import registry
from modelmill.step import find
from modelmill.types import Format, Maker, Packager, Remote, SignerOffer, Source

if TYPE_CHECKING:
    import pytest


def offers(module: str, hook: str) -> list[Any]:
    """All that a plugin offers through a hook."""
    return list(getattr(importlib.import_module(module), hook)())


def maker(module: str, kind: str, name: str) -> Maker[Any]:
    """The converter or quantizer of this name that a plugin offers."""
    return find(module, kind, name)


def owner(module: str, name: str) -> Format:
    """The format of this name: the plugin's own, or that of an installed one."""
    offers = getattr(importlib.import_module(module), "modelmill_formats", tuple)
    for record in offers():
        if record.name == name:
            return typing.cast("Format", record)
    return registry.load().formats[name].record


def source(module: str, name: str) -> Source:
    """The source of this name that a plugin offers."""
    record: Source = _offer(module, "modelmill_sources", name)
    return record


def packager(module: str, name: str) -> Packager[Any]:
    """The packager of this name that a plugin offers."""
    record: Packager[Any] = _offer(module, "modelmill_packagers", name)
    return record


def signer(module: str, scheme: str) -> SignerOffer:
    """The signer for this scheme that a plugin offers."""
    record: SignerOffer = _offer(module, "modelmill_signers", scheme, by="scheme")
    return record


def remote(module: str, scheme: str) -> Remote[Any]:
    """The remote for this scheme that a plugin offers."""
    record: Remote[Any] = _offer(module, "modelmill_remotes", scheme, by="scheme")
    return record


def legal(name: str) -> bool:
    """Whether a name can stand in a path, a URI and an image's tag."""
    return re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name) is not None


def _offer(module: str, hook: str, name: str, by: str = "name") -> Any:
    for record in getattr(importlib.import_module(module), hook)():
        if getattr(record, by) == name:
            return record
    raise LookupError(f"{module} offers no {name!r} through {hook}")


def literals(options: type[Any]) -> Iterator[tuple[str, Any]]:
    """Every value that a Literal among the options allows and that is not its default, with the option's name."""
    hints = typing.get_type_hints(options)
    for item in fields(options):
        hint = hints[item.name]
        choices = [hint, *typing.get_args(hint)]
        for choice in choices:
            if typing.get_origin(choice) is Literal:
                for value in typing.get_args(choice):
                    if item.default is MISSING or value != item.default:
                        yield item.name, value


def parametrize_choices(metafunc: "pytest.Metafunc", options: type[Any]) -> None:
    """One test for every value of `literals`; where there is none, one without a name or value."""
    choices = list(literals(options)) or [("", None)]
    metafunc.parametrize("choice", choices, ids=[f"{name}={value}" if name else "none" for name, value in choices])
