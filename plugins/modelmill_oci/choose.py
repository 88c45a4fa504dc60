"""Which artifact of a release a machine should have, and why."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelmill import RemoteError, RequestError
from modelmill_artifacts.release import Entry
from modelmill_oci import platform

_MIB = 1024 * 1024
_UNNEEDED = ("none", "npu")
"""Kinds of accelerators that an artifact runs without.

What a runtime has no kernel for on an NPU it computes on the CPU, in the same memory: ONNX Runtime gives such nodes
to its CPU provider, and llama.cpp's kernels are the CPU's. No file that is made here is compiled for an NPU.
"""

_BEST_FIRST = ("fast", None, "slow", "impossible")
_DECIDES = (
    "does not use the accelerator",
    "uses fewer of its CPU's features",
    "its scheme is slower, by its profile",
    "is smaller",
    "comes after it by name",
)
"""What is said of an artifact that came second for this place of its rank."""
Suits = Callable[[str, str, str], str | None]
"""What a profile says of a scheme of a format: one of `_BEST_FIRST`."""


def _says_nothing(profile: str, model_format: str, scheme: str) -> str | None:  # noqa: ARG001
    return None


def by_name(entries: Sequence[Entry], target: str) -> tuple[Entry, str]:
    """The artifact of a target. Raises RequestError that lists what there is."""
    for entry in entries:
        if entry.target == target:
            return entry, f"target {target} was asked for"
    raise RequestError(f"the release has no target {target!r}; there is {_listed(entries)}")


def by_profile(entries: Sequence[Entry], profile: str) -> tuple[Entry, str]:
    """The artifact made for a hardware profile. Raises RequestError where there is none or more than one."""
    found = [entry for entry in entries if entry.hardware and entry.hardware.profile == profile]
    if len(found) == 1:
        return found[0], f"{found[0].target} was made for the hardware profile {profile}"
    if found:
        raise RequestError(f"{len(found)} targets are for {profile!r}: {_listed(found)}; name one of them")
    profiles = sorted({entry.hardware.profile for entry in entries if entry.hardware})
    raise RequestError(f"the release has nothing for {profile!r}; there is {', '.join(profiles) or 'none'}")


def by_machine(entries: Sequence[Entry], machine: Mapping[str, Any], suits: Suits = _says_nothing) -> tuple[Entry, str]:
    """The artifact that fits a machine best, given its fields as a profile has them.

    It must fit: operating system, architecture, CPU features, accelerator (unless that is an NPU), memory. Of those
    that do, the one with an accelerator wins, then the one that uses most CPU features, then what its profile says runs
    fast (by `suits`) before what it is silent on and what it says runs slowly, then the largest, then the first by
    name. Raises RemoteError that says of each why it does not fit.
    """
    reasons = {entry.target: unfit(entry, machine) for entry in entries}
    fitting = [entry for entry in entries if not reasons[entry.target]]
    if not fitting:
        said = "; ".join(f"{target}: {reason}" for target, reason in reasons.items())
        raise RemoteError(f"nothing in the release fits this machine ({describe(machine)}): {said}")
    ranks = {entry.target: _rank(entry, suits) for entry in fitting}
    chosen = min(fitting, key=lambda entry: ranks[entry.target])
    others = [f"{target} ({reason})" for target, reason in reasons.items() if reason]
    for entry in fitting:
        if entry is not chosen:
            pairs = zip(_DECIDES, ranks[chosen.target], ranks[entry.target], strict=True)
            others.append(f"{entry.target} (fits too, but {next(why for why, best, other in pairs if best != other)})")
    needs = _needs(chosen)
    over = f"; not {', '.join(others)}" if others else ""
    return chosen, f"{chosen.target} fits this machine ({describe(machine)}): it needs {needs}{over}"


def unfit(entry: Entry, machine: Mapping[str, Any]) -> str:
    """Why an artifact does not fit a machine; nothing if it does. An artifact without a profile fits anything."""
    if entry.hardware is None:
        return ""
    requires = entry.hardware.requires
    for what, ask in (("the operating system", platform.system_of), ("the architecture", platform.architecture_of)):
        wanted, has = ask(requires), ask(machine)
        if wanted is not None and wanted != has:
            return f"needs {what} {wanted}"
    if missing := platform.features_of(requires) - platform.features_of(machine):
        return f"needs {', '.join(sorted(missing))}"
    kind = requires.get("accelerator.kind", "none")
    if kind not in _UNNEEDED and kind != machine.get("accelerator.kind"):
        return f"needs {kind}"
    needed = (entry.bytes + _MIB - 1) // _MIB
    on_card = kind not in _UNNEEDED and requires.get("accelerator.memory_mib") and machine.get("accelerator.memory_mib")
    place, field = ("card's memory", "accelerator.memory_mib") if on_card else ("memory", "memory.total_mib")
    total = machine.get(field)
    if isinstance(total, int) and needed > total:
        return f"has {needed} MiB, more than the {place} of {total} MiB"
    return ""


def describe(machine: Mapping[str, Any]) -> str:
    """A machine in a few words."""
    words = [platform.system_of(machine) or "unknown system", platform.architecture_of(machine) or "unknown CPU"]
    if total := machine.get("memory.total_mib"):
        words.append(f"{total} MiB")
    if (kind := machine.get("accelerator.kind", "none")) != "none":
        words.append(str(kind))
    return " ".join(words)


def _rank(entry: Entry, suits: Suits) -> tuple[bool, int, int, int, str]:
    """The smallest is the best; see `_DECIDES` for its places."""
    requires = entry.hardware.requires if entry.hardware else {}
    accelerated = requires.get("accelerator.kind", "none") not in _UNNEEDED
    said = suits(entry.hardware.profile, entry.format, entry.scheme) if entry.hardware and entry.scheme else None
    speed = _BEST_FIRST.index(said) if said in _BEST_FIRST else _BEST_FIRST.index(None)
    return not accelerated, -len(platform.features_of(requires)), speed, -entry.bytes, entry.target


def _needs(entry: Entry) -> str:
    if entry.hardware is None:
        return "nothing in particular"
    requires = entry.hardware.requires
    words = [word for word in (platform.system_of(requires), platform.architecture_of(requires)) if word]
    return " ".join([*words, *sorted(platform.features_of(requires))]) or "nothing in particular"


def _listed(entries: Sequence[Entry]) -> str:
    return ", ".join(sorted(entry.target for entry in entries))
