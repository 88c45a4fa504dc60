"""Which plugins are installed, what each offers, and whose every offer is."""

import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import pluggy

from modelmill import hookspecs
from modelmill.decode import suggestion
from modelmill.errors import ConfigError, PluginError
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
from modelmill.wellformed import problem

GROUP = "modelmill"

RECORDS: Mapping[str, type[Any]] = {
    "formats": Format,
    "converters": Converter,
    "quantizers": Quantizer,
    "sources": Source,
    "hardware": HardwareProfile,
    "packagers": Packager,
    "remotes": Remote,
    "signers": SignerOffer,
}
"""The record that each hook, `modelmill_` and the name, offers."""

_TOOLCHAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An entry point that loaded: its name, its module, and the distribution that brings it."""

    name: str
    module: str
    distribution: str
    version: str

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


@dataclass(frozen=True, slots=True)
class Offers(Generic[Record]):
    """All offers of one kind, by name. A name that two plugins offer is nobody's until one of them is removed."""

    kind: str
    found: Mapping[str, tuple[Offer[Record], ...]]

    def __getitem__(self, name: str) -> Offer[Record]:
        """The one offer of this name; ConfigError where there is none, PluginError where there are several."""
        if name not in self.found:
            raise ConfigError(f"unknown {self.kind} {name!r}; {suggestion(name, self.found)}")
        if len(self.found[name]) > 1:
            owners = " and ".join(sorted(str(offer.plugin) for offer in self.found[name]))
            raise PluginError(f"{owners} both offer the {self.kind} {name!r}; remove one of them")
        return self.found[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.found))

    def __contains__(self, name: object) -> bool:
        return name in self.found

    def all(self) -> Iterator[Offer[Record]]:
        """Every offer, by name; PluginError at a name that two plugins offer."""
        return (self[name] for name in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What all plugins offer."""

    plugins: tuple[Plugin, ...]
    broken: tuple[Broken, ...]
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


def load() -> Registry:
    """Load every installed plugin. A broken one is told of in `broken` and takes nobody else down."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins: dict[str, Plugin] = {}
    broken: list[Broken] = []
    for point, owner, version in _entry_points():
        try:
            module = point.load()
            manager.register(module, name=point.name)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, it must not stop the others
            reason = f"cannot be loaded: {type(error).__name__}: {error}"
            broken.append(Broken(name=point.name, distribution=owner, version=version, reason=reason))
        else:
            plugins[point.name] = Plugin(name=point.name, module=point.value, distribution=owner, version=version)
    broken.extend(_drop_misspelt(manager, plugins))
    collect = _Collector(manager=manager, plugins=plugins, broken=broken)
    registry = Registry(
        formats=collect.offers("format", manager.hook.modelmill_formats, Format),
        converters=collect.offers("converter", manager.hook.modelmill_converters, Converter),
        quantizers=collect.offers("quantizer", manager.hook.modelmill_quantizers, Quantizer),
        sources=collect.offers("source", manager.hook.modelmill_sources, Source),
        hardware=collect.offers("hardware profile", manager.hook.modelmill_hardware, HardwareProfile),
        packagers=collect.offers("packager", manager.hook.modelmill_packagers, Packager),
        remotes=collect.offers("remote", manager.hook.modelmill_remotes, Remote),
        signers=collect.offers("signer", manager.hook.modelmill_signers, SignerOffer),
        plugins=tuple(plugins[name] for name in sorted(plugins)),
        broken=tuple(broken),
    )
    dead = {item.name for item in broken}
    return Registry(
        **{
            **{name: getattr(registry, name) for name in Registry.__slots__},
            "plugins": tuple(plugin for plugin in registry.plugins if plugin.name not in dead),
            "broken": tuple(broken),
        }
    )


def _entry_points() -> Iterator[tuple[importlib.metadata.EntryPoint, str, str]]:
    """Entry points of our group with their distribution's name and version, in a fixed order."""
    points = importlib.metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda item: (item.name, item.value)):
        owner = point.dist
        yield point, owner.name if owner else "?", owner.version if owner else "?"


def _drop_misspelt(manager: pluggy.PluginManager, plugins: dict[str, Plugin]) -> Iterable[Broken]:
    """Unregister plugins that implement a hook which does not exist."""
    broken = []
    while True:
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            name = manager.get_name(error.plugin)
            manager.unregister(error.plugin)
            if name is None:
                raise
            plugin = plugins.pop(name)
            message = str(error).splitlines()[0]
            broken.append(
                Broken(
                    name=name,
                    distribution=plugin.distribution,
                    version=plugin.version,
                    reason=f"implements a hook that does not exist: {message}",
                )
            )
        else:
            return broken


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collector:
    manager: pluggy.PluginManager
    plugins: Mapping[str, Plugin]
    broken: list[Broken]

    def offers(self, kind: str, hook: pluggy.HookCaller, record: type[Record]) -> Offers[Record]:
        """Call each implementation by itself, so that every offer is known by its plugin."""
        found: dict[str, tuple[Offer[Record], ...]] = {}
        for implementation in reversed(hook.get_hookimpls()):
            plugin = self.plugins[implementation.plugin_name]
            for item in self._call(implementation, plugin, kind, record):
                name: str = item.scheme if isinstance(item, Remote | SignerOffer) else item.name  # type: ignore[attr-defined]
                found[name] = (*found.get(name, ()), Offer(record=item, plugin=plugin))
        return Offers(kind, found)

    def _call(self, implementation: pluggy.HookImpl, plugin: Plugin, kind: str, record: type[Record]) -> list[Record]:
        try:
            items: list[Any] = list(cast("Iterable[Any]", implementation.function()))
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(plugin, f"fails to offer its {kind}s: {type(error).__name__}: {error}")
            return []
        for item in items:
            if (what := problem(item, record) or _toolchain_fault(item)) is not None:
                self._fail(plugin, what)
                return []
        return items

    def _fail(self, plugin: Plugin, reason: str) -> None:
        self.broken.append(
            Broken(name=plugin.name, distribution=plugin.distribution, version=plugin.version, reason=reason)
        )


def _toolchain_fault(record: Any) -> str | None:
    """What is wrong with the toolchain that a record names, if it names one."""
    if not isinstance(record, Maker) or record.toolchain is None:
        return None
    from modelmill.requirement import fault

    name, requires = record.toolchain.name, record.toolchain.requires
    where = f"offers {record.name!r} with a toolchain {name!r}"
    if not _TOOLCHAIN.fullmatch(name):
        return f"{where}, whose name is not small letters, digits and dashes"
    if record.tools:
        return f"{where} and with tools: its tools are what the toolchain requires"
    if not requires:
        return f"{where} that requires nothing"
    wrong = next((found for text in requires if (found := fault(text))), None)
    return None if wrong is None else f"{where}: {wrong}"
