"""`modelmill plugins`: who offers what."""

from typing import Any

import click

from modelmill.cli import options, show
from modelmill.registry import Plugin, Registry, load


@click.command()
@options.as_json
def command(*, as_json: bool) -> int:
    """List the installed plugins, the distribution of each, and what it offers."""
    registry = load()
    rows = [(plugin, _offers(registry, plugin)) for plugin in registry.plugins]
    if as_json:
        show.document(
            {
                "plugins": [
                    {
                        "name": p.name,
                        "distribution": p.distribution,
                        "version": p.version,
                        "api": p.api,
                        "offers": offers,
                    }
                    for p, offers in rows
                ],
                "broken": [str(item) for item in registry.broken],
                "deprecations": list(registry.deprecations),
            }
        )
        return 1 if registry.broken else 0
    for plugin, offers in rows:
        click.echo(f"{plugin.name} ({plugin})")
        for kind, names in offers.items():
            click.echo(f"  {kind}: {', '.join(names)}")
    for line in registry.deprecations:
        show.warn(line)
    for item in registry.broken:
        click.echo(f"broken: {item}", err=True)
    return 1 if registry.broken else 0


def _offers(registry: Registry, plugin: Plugin) -> dict[str, list[str]]:
    kinds: dict[str, Any] = {
        "formats": registry.formats,
        "converters": registry.converters,
        "quantizers": registry.quantizers,
        "sources": registry.sources,
        "hardware profiles": registry.hardware,
        "packagers": registry.packagers,
        "remotes": registry.remotes,
        "signers": registry.signers,
    }
    found = {
        kind: [name for name in offers if any(offer.plugin == plugin for offer in offers.found[name])]
        for kind, offers in kinds.items()
    }
    return {kind: names for kind, names in found.items() if names}
