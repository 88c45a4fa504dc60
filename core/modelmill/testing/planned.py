"""What a record expects of a step, asked anew from plain data: in this process, or in another."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelmill.decode import decode
from modelmill.store.facts import decode_facts, encode_facts
from modelmill.testing import plugins
from modelmill.testing.weight import heavy
from modelmill.types import Hardware, Maker, Outlook, Refusal


def plan_again(table: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a record what it expects of a step, from JSON and back to it; and which heavy packages that took.

    It is asked for each of its schemes, for one may load what another does not.
    """
    before = set(sys.modules)
    maker = plugins.maker(table["module"], table["kind"], table["name"])
    outlook = Outlook(
        facts=decode_facts(table["facts"]),
        scheme=table["scheme"],
        options=decode(maker.options, table["options"]),
        inputs={name: decode_facts(facts) for name, facts in table["inputs"].items()},
        hardware=None if table["hardware"] is None else Hardware(fields=table["hardware"]),
    )
    answers = {scheme: _answer(maker, replace(outlook, scheme=scheme)) for scheme in maker.schemes}
    if isinstance(answers[table["scheme"]], str):
        raise TypeError(f"refused from the facts as JSON, and not before: {answers[table['scheme']]}")
    return {"answers": answers, "heavy": heavy(before, table["module"])}


def _answer(maker: Maker[Any], outlook: Outlook[Any]) -> Any:
    """What is expected of one scheme, as plain data; a refusal as its reason."""
    inferred = maker.infer(outlook)
    if isinstance(inferred, Refusal):
        return inferred.reason
    estimate = maker.estimate(outlook, inferred)
    tools = {} if maker.more_tools is None else dict(maker.more_tools(outlook, inferred))
    return [encode_facts(inferred), estimate.bytes_out, estimate.peak_memory, estimate.seconds, tools]
