"""What this machine is, in the fields of a hardware profile."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from modelmill_oci.platform import architecture_of, system_of

_MIB = 1024 * 1024


def detect() -> dict[str, Any]:
    """Operating system, architecture, CPU features in Linux's words, memory; what cannot be known is left out."""
    said = {"os.family": platform.system().lower(), "os.arch": platform.machine().lower()}
    found: dict[str, Any] = {
        "os.family": system_of(said) or said["os.family"],
        "os.arch": architecture_of(said) or said["os.arch"],
        "cpu.features": features(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory.total_mib"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    if found["os.family"] == "darwin" and found["os.arch"] == "arm64":
        found["accelerator.kind"] = "metal"
    elif Path("/proc/driver/nvidia/version").exists():
        found["accelerator.kind"] = "cuda"
    return found


def features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """The CPU features that every core has."""
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        cores = [set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))]
        return sorted(set.intersection(*cores)) if cores else []
    if platform.system() == "Darwin":
        return _apple_features()
    return []


_APPLE = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.AdvSIMD": "asimd",
}


def _apple_features() -> list[str]:
    done = subprocess.run(["/usr/sbin/sysctl", *_APPLE], capture_output=True, text=True, check=False)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    found = [feature for name, feature in _APPLE.items() if said.get(name) == "1"]
    return sorted([*found, "fphp"] if "asimdhp" in found else found)
