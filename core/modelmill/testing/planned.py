"""What a record expects of a step, asked anew from plain data: in this process, or in another."""

import sys
from collections.abc import Mapping
from typing import Any

from modelmill.decode import decode
from modelmill.facts import decode_facts, encode_facts
from modelmill.testing import plugins
from modelmill.testing.suite import HEAVY
from modelmill.types import Hardware, Outlook, Refusal


def plan_again(table: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a record what it expects of a step, from JSON and back to it; and which heavy modules that took."""
    maker = plugins.maker(table["module"], table["kind"], table["name"])
    outlook = Outlook(
        facts=decode_facts(table["facts"]),
        scheme=table["scheme"],
        options=decode(maker.options, table["options"]),
        inputs={name: decode_facts(facts) for name, facts in table["inputs"].items()},
        hardware=None if table["hardware"] is None else Hardware(fields=table["hardware"]),
    )
    inferred = maker.infer(outlook)
    if isinstance(inferred, Refusal):
        raise TypeError(f"refused from the facts as JSON, and not before: {inferred.reason}")
    estimate = maker.estimate(outlook, inferred)
    answers = [encode_facts(inferred), estimate.bytes_out, estimate.peak_memory, estimate.seconds]
    return {"answers": answers, "heavy": sorted(HEAVY.intersection(sys.modules))}
