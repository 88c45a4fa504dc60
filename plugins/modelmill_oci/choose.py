"""Which artifact of a release a machine should have, and why."""

from collections.abc import Mapping, Sequence
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


def by_machine(entries: Sequence[Entry], machine: Mapping[str, Any]) -> tuple[Entry, str]:
    """The artifact that fits a machine best, given its fields as a profile has them.

    It must fit: operating system, architecture, CPU features, accelerator (unless that is an NPU), memory. Of those
    that do, the one with an accelerator wins, then the one that uses most CPU features, then the largest, then the
    first by name. Raises RemoteError that says of each why it does not fit.
    """
    reasons = {entry.target: unfit(entry, machine) for entry in entries}
    fitting = [entry for entry in entries if not reasons[entry.target]]
    if not fitting:
        said = "; ".join(f"{target}: {reason}" for target, reason in reasons.items())
        raise RemoteError(f"nothing in the release fits this machine ({describe(machine)}): {said}")
    chosen = min(fitting, key=_rank)
    others = [f"{target} ({reason})" for target, reason in reasons.items() if reason]
    others += [f"{entry.target} (fits, but uses less of it)" for entry in fitting if entry is not chosen]
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


def _rank(entry: Entry) -> tuple[bool, int, int, str]:
    requires = entry.hardware.requires if entry.hardware else {}
    accelerated = requires.get("accelerator.kind", "none") not in _UNNEEDED
    return not accelerated, -len(platform.features_of(requires)), -entry.bytes, entry.target


def _needs(entry: Entry) -> str:
    if entry.hardware is None:
        return "nothing in particular"
    requires = entry.hardware.requires
    words = [word for word in (platform.system_of(requires), platform.architecture_of(requires)) if word]
    return " ".join([*words, *sorted(platform.features_of(requires))]) or "nothing in particular"


def _listed(entries: Sequence[Entry]) -> str:
    return ", ".join(sorted(entry.target for entry in entries))
