"""How well a device's runtimes run a scheme, by what its hardware profile says."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from modelmill.types import Hardware

Verdict = Literal["fast", "slow", "impossible"]
_BEST_FIRST: tuple[Verdict, ...] = ("fast", "slow", "impossible")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suitability:
    """The best that any runtime makes of a scheme, which runtimes those are, and what they run fast."""

    verdict: Verdict
    runtimes: tuple[str, ...]
    fast: tuple[str, ...]


def suitability(hardware: Hardware, loaders: Collection[str], scheme: str) -> Suitability | None:
    """What the profile says of a scheme in the runtimes that load its format; None where it says nothing.

    Formats share names of schemes: BF16 of a checkpoint is no word about BF16 in llama.cpp.
    """
    said: dict[Verdict, list[str]] = {}
    for field, schemes in sorted(hardware.fields.items()):
        table, _, rest = field.partition(".")
        runtime, _, word = rest.rpartition(".")
        for verdict in _BEST_FIRST:
            if table == "runtime" and word == verdict and runtime in loaders and scheme in schemes:
                said.setdefault(verdict, []).append(runtime)
    for verdict in _BEST_FIRST:
        if verdict in said:
            runtimes = tuple(said[verdict])
            fast = dict.fromkeys(name for item in runtimes for name in hardware.fields.get(f"runtime.{item}.fast", ()))
            return Suitability(verdict=verdict, runtimes=runtimes, fast=tuple(fast))
    return None


def explain(found: Suitability, scheme: str, device: str) -> str:
    """What that means for a target, and what would be better: one sentence."""
    runtimes = " and ".join(found.runtimes)
    verb = "cannot run" if found.verdict == "impossible" else "runs"
    slowly = " slowly" if found.verdict == "slow" else ""
    better = f"; what it runs well there is {', '.join(found.fast)}" if found.fast else ""
    return f"on {device} {runtimes} {verb} {scheme}{slowly}{better}"
