"""A hardware profile of one machine, written from what it says of itself."""

import json
from collections.abc import Mapping
from typing import Any

from modelmill.hardware.machine import level, vector_features
from modelmill.hardware.schema import ancestors, load_profile

_BUDGET = 0.75
"""The share of the memory that a model gets by default: the system and its other programs need some too."""
_CARD_BUDGET = 0.875
"""The same of a card's own memory: the toolkit's context and its libraries' workspaces need some."""
_METAL_BUDGET = 2 / 3
"""The same of a Mac's memory: what Metal recommends as a working set, which is more from 36 GB on."""
_PROVIDERS = {"none": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DEVICE = ("memory.total_mib", "memory.budget_mib")
"""A profile with one of these is of a device, not of an instruction set, and no other machine is one, save for Macs."""
_CHIP = "accelerator.name"


def matching(machine: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[str, ...]:
    """The profiles whose artifacts a machine runs, without those that others of them inherit from.

    They are of instruction sets that it implements, and of Macs whose features and memory it has at least.
    """
    fitting = [name for name in sorted(texts) if _implements(machine, load_profile(name, texts).fields)]
    covered = {parent for name in fitting for parent in ancestors(name, texts)}
    widest = [name for name in fitting if name not in covered]
    return tuple(sorted(widest, key=lambda name: (-len(_features(load_profile(name, texts).fields)), name)))


def _implements(machine: Mapping[str, Any], profile: Mapping[str, Any]) -> bool:
    if any(profile.get(field) != machine.get(field) for field in ("os.family", "os.arch")):
        return False
    kind = profile.get("accelerator.kind", "none")
    if kind == "metal":
        if machine.get("accelerator.kind") != kind or profile.get(_DEVICE[0], 0) > machine.get(_DEVICE[0], 0):
            return False
    elif kind != "none" or any(field in profile for field in _DEVICE):
        return False
    return _features(profile) <= set(machine.get("cpu.features", ()))


def _features(profile: Mapping[str, Any]) -> set[str]:
    return set(profile.get("cpu.features", ()))


def profile_toml(machine: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """A profile's text for a machine as `machine.detect` describes it, given the TOML of all profiles."""
    parent = _parent(machine, texts)
    found = {
        **{key: value for key, value in machine.items() if key != "cpu.features"},
        "cpu.features": vector_features(machine),
    }
    newest = level(machine)
    if newest is not None:
        found["cpu.microarchitecture"] = newest
    kind = found.setdefault("accelerator.kind", "none")
    if kind in _PROVIDERS:
        found["accelerator.provider"] = _PROVIDERS[kind]
    budget, memory = _budget(found)
    if budget is not None:
        found["memory.budget_mib"] = budget
    evidence = {
        "cpu": "as the operating system lists it; features of every core that inference kernels are written for",
        "memory": memory,
    }
    if "accelerator.name" in found:
        tool = "nvidia-smi states it of the first card" if kind == "cuda" else "sysctl states it"
        evidence["accelerator"] = f"as {tool}"
    lines = ['description = "The machine that `modelmill hardware detect` ran on"']
    if parent is not None:
        lines.append(f"inherits = {json.dumps([parent])}")
    found |= {f"evidence.{key}": value for key, value in evidence.items()}
    tables: dict[str, list[str]] = {}
    for key, value in sorted(found.items()):
        table, _, name = key.partition(".")
        tables.setdefault(table, []).append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    for table in ("os", "cpu", "memory", "accelerator", "evidence"):
        if table in tables:
            lines += ["", f"[{table}]", *tables[table]]
    return "\n".join(lines) + "\n"


def _parent(machine: Mapping[str, Any], texts: Mapping[str, str]) -> str | None:
    """The profile to inherit from: an instruction set's, or that of the very chip.

    With a card it is none, for what the profile of an instruction set says of runtimes is of the CPU; nor is it
    another chip's, whose bandwidth is its own.
    """
    kind = machine.get("accelerator.kind", "none")
    return next(
        (
            name
            for name in matching(machine, texts)
            if kind == "none" or (kind == "metal" and load_profile(name, texts).fields.get(_CHIP) == machine.get(_CHIP))
        ),
        None,
    )


def _budget(found: Mapping[str, Any]) -> tuple[int | None, str]:
    """MiB for a model where it will lie, None where nobody says how large that memory is; and the evidence."""
    said = "as the operating system and its control group state it"
    own = found.get("accelerator.memory_mib", None if found["accelerator.kind"] == "cuda" else 0)
    if own is None:
        return None, f"{said}; no budget, since nvidia-smi is not there to say how large the card's memory is"
    if own:
        return int(own * _CARD_BUDGET), f"{said}; the budget is {_CARD_BUDGET:.1%} of the card's, where a model lies"
    share = _METAL_BUDGET if found["accelerator.kind"] == "metal" else _BUDGET
    total = found.get("memory.total_mib")
    return None if total is None else int(total * share), f"{said}; the budget is {share:.0%} of it"
