"""What makes a step's bytes beside its job: its plugin, this engine, and the tools that it runs."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from modelmill.decode import encode
from modelmill.installed import digests
from modelmill.installed.distributions import closure
from modelmill.plan.keys import Identify, Identity
from modelmill.registry import Offer
from modelmill.store import Store
from modelmill.toolchains.pinning import Pinner, tool
from modelmill.types import Maker


def identifier(store: Store, pinner: Pinner) -> Identify:
    """Tells what makes a step's bytes beside its job; see `keys.Identity`."""
    engine = {"version": importlib.metadata.version("modelmill"), "digest": digests.engine_digest(store.index)}

    def identify(offer: Offer[Maker[Any]], more: Mapping[str, str]) -> Identity:
        record, plugin = offer.record, offer.plugin
        if record.toolchain is None:
            named = {**dict.fromkeys(record.tools, record.requirement), **more}
            tools = [encode(item) for item in closure(named, store.index)]
        else:
            tools = [tool(pin) for pin in pinner.pins(record.toolchain)]
        identity: dict[str, Any] = {
            "plugin": {
                "distribution": plugin.distribution,
                "module": plugin.module,
                "version": plugin.version,
                "digest": digests.package_digest(plugin.module, store.index),
            },
            "engine": engine,
            "tools": tools,
        }
        if record.toolchain is not None:
            identity["toolchain"] = record.toolchain.name
        if any(item["native"] for item in tools):
            identity["platform"] = digests.platform_facts()
        return identity

    return identify
