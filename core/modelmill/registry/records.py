"""What plugins offer, as values: every offer by its name, with the plugin whose it is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from modelmill.decode import suggestion
from modelmill.errors import ConfigError, PluginError
from modelmill.registry.tables import Reader, readers
from modelmill.types import (
    Converter,
    Format,
    HardwareProfile,
    Maker,
    Packager,
    Quantizer,
    Remote,
    SignerOffer,
    Source,
    Toolchain,
)

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An entry point that loaded: its name, its module, and the distribution that brings it.

    `api` is the version of the plugin contract that it declares; None where it declares none.
    """

    name: str
    module: str
    distribution: str
    version: str
    api: int | None = None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An entry point that could not be used, and why, in one sentence that names its distribution."""

    name: str
    distribution: str
    version: str
    reason: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}: plugin {self.name!r} {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(Generic[Record]):
    """A record and the plugin that offers it."""

    record: Record
    plugin: Plugin


def takes(offer: Offer[Maker[Any]]) -> str:
    """The format that a maker reads."""
    taken: str = offer.record.takes  # type: ignore[attr-defined]
    return taken


def gives(offer: Offer[Maker[Any]]) -> str:
    """The format that a maker writes."""
    given: str = offer.record.gives  # type: ignore[attr-defined]
    return given


@dataclass(frozen=True, slots=True)
class Offers(Generic[Record]):
    """All offers of one kind, by name. A name that two plugins offer is nobody's until one of them is removed.

    `broken` are the plugins that may have offered more.
    """

    kind: str
    found: Mapping[str, tuple[Offer[Record], ...]]
    broken: tuple[Broken, ...] = ()

    def __getitem__(self, name: str) -> Offer[Record]:
        """The one offer of this name; ConfigError where there is none, PluginError where there are several."""
        if name not in self.found:
            raise ConfigError(f"unknown {self.kind} {name!r}; {self.nearest(name, self.found)}")
        if len(self.found[name]) > 1:
            owners = " and ".join(sorted(str(offer.plugin) for offer in self.found[name]))
            raise PluginError(f"{owners} both offer the {self.kind} {name!r}; remove one of them")
        return self.found[name][0]

    def nearest(self, name: str, known: Iterable[str]) -> str:
        """A clause on an unknown name: which known one is near, or what there is; and which plugins are broken."""
        return self.beside(suggestion(name, known))

    def beside(self, told: str) -> str:
        """What is told of an unknown name, and with it the plugins that are broken: it may be one of theirs."""
        if not self.broken:
            return told
        reasons = "; ".join(dict.fromkeys(str(item) for item in self.broken))
        return f"{told}{' A' if told.endswith(('?', '.')) else '; a'} broken plugin may have it: {reasons}"

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.found))

    def __contains__(self, name: object) -> bool:
        return name in self.found

    def all(self) -> Iterator[Offer[Record]]:
        """Every offer, by name; PluginError at a name that two plugins offer."""
        return (self[name] for name in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What all plugins offer; `deprecations` are sentences about those that use what will go."""

    plugins: tuple[Plugin, ...]
    broken: tuple[Broken, ...]
    deprecations: tuple[str, ...]
    formats: Offers[Format]
    converters: Offers[Converter[Any]]
    quantizers: Offers[Quantizer[Any]]
    sources: Offers[Source]
    hardware: Offers[HardwareProfile]
    packagers: Offers[Packager[Any]]
    remotes: Offers[Remote[Any]]
    signers: Offers[SignerOffer]

    def makers(self) -> Iterator[tuple[str, Offer[Maker[Any]]]]:
        """Every converter and quantizer with its kind."""
        for converter in self.converters.all():
            yield "converter", Offer(record=converter.record, plugin=converter.plugin)
        for quantizer in self.quantizers.all():
            yield "quantizer", Offer(record=quantizer.record, plugin=quantizer.plugin)

    def tables(self) -> dict[str, tuple[Reader, ...]]:
        """By name, the tables of build.toml that plugins read; all that read one in ways of their own."""
        offers = [offer for kind in (self.packagers, self.remotes) for name in kind for offer in kind.found[name]]
        return readers((offer.record, offer.plugin) for offer in offers)

    def toolchains(self) -> dict[str, tuple[Toolchain, tuple[Offer[Maker[Any]], ...]]]:
        """Every toolchain by name, with the offers that run in it; of a name that means two, the first."""
        found: dict[str, tuple[Toolchain, tuple[Offer[Maker[Any]], ...]]] = {}
        for _, offer in self.makers():
            toolchain = offer.record.toolchain
            if toolchain is not None:
                first, offers = found.get(toolchain.name, (toolchain, ()))
                found[toolchain.name] = (first, (*offers, offer))
        return found

    def check_toolchain(self, name: str) -> None:
        """Raise PluginError where offers mean different requirements by one toolchain's name."""
        toolchain, offers = self.toolchains()[name]
        other = next((offer for offer in offers if offer.record.toolchain != toolchain), None)
        if other is not None:
            raise PluginError(
                f"{offers[0].plugin} and {other.plugin} mean different requirements by the toolchain {name!r}; "
                "they need different names"
            )
