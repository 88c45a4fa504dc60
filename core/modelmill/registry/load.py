"""Entry points → the registry: a plugin that cannot be used is told of, and takes nobody else down."""

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import pluggy

from modelmill import hookspecs
from modelmill.contract import DECLARATION
from modelmill.registry.compatibility import declared, deprecated_fields, listening, version_fault
from modelmill.registry.records import Broken, Offer, Offers, Plugin, Registry
from modelmill.registry.tables import table_fault
from modelmill.registry.toolchains import toolchain_fault
from modelmill.registry.wellformed import problem
from modelmill.types import (
    Converter,
    Format,
    HardwareProfile,
    Packager,
    Quantizer,
    Remote,
    SignerOffer,
    Source,
)

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

Record = TypeVar("Record")


def load() -> Registry:
    """Load every installed plugin. A broken one is told of in `broken` and takes nobody else down."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins: dict[str, Plugin] = {}
    broken: list[Broken] = []
    heard: dict[str, list[str]] = {}
    for point, owner, version in _entry_points():
        try:
            with listening(heard.setdefault(f"{owner} {version}", [])):
                module = point.load()
            api = getattr(module, DECLARATION, None)
            reason = version_fault(api, owner)
            if reason is None:
                manager.register(module, name=point.name)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, it must not stop the others
            # What it was written for may be why it cannot be loaded: a name that it imports is gone.
            reason = version_fault(declared(point.module), owner)
            reason = reason or f"cannot be loaded: {type(error).__name__}: {error}"
        if reason is not None:
            broken.append(Broken(name=point.name, distribution=owner, version=version, reason=reason))
            continue
        plugins[point.name] = Plugin(name=point.name, module=point.value, distribution=owner, version=version, api=api)
    broken.extend(_drop_misspelt(manager, plugins))
    collect = _Collector(manager=manager, plugins=plugins, broken=broken, heard=heard)
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
        deprecations=(),
    )
    dead = {item.name for item in broken}
    kinds = {name: getattr(registry, name) for name in Registry.__slots__}
    offers = {name: replace(found, broken=tuple(broken)) for name, found in kinds.items() if isinstance(found, Offers)}
    return Registry(
        **{
            **kinds,
            **offers,
            "plugins": tuple(plugin for plugin in registry.plugins if plugin.name not in dead),
            "broken": tuple(broken),
            "deprecations": tuple(f"{who}: {told}" for who, lines in heard.items() for told in dict.fromkeys(lines)),
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
    heard: dict[str, list[str]]

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
        told = self.heard.setdefault(str(plugin), [])
        try:
            with listening(told):
                items: list[Any] = list(cast("Iterable[Any]", implementation.function()))
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(plugin, f"fails to offer its {kind}s: {type(error).__name__}: {error}")
            return []
        for item in items:
            if (what := problem(item, record) or toolchain_fault(item) or table_fault(item)) is not None:
                self._fail(plugin, what)
                return []
            told.extend(deprecated_fields(item))
        return items

    def _fail(self, plugin: Plugin, reason: str) -> None:
        self.broken.append(
            Broken(name=plugin.name, distribution=plugin.distribution, version=plugin.version, reason=reason)
        )
