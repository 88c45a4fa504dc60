"""What this machine is, in the fields of a hardware profile."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelmill.hardware.cgroup import memory_limit

_MIB = 1024 * 1024
_FAMILIES = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_VECTOR = re.compile(
    r"(sse|ssse|avx|amx|asimd|sve|sme(?!p))[a-z0-9_]*|fma|f16c|bmi[12]|abm|movbe|popcnt|i8mm|bf16|fphp"
)
"""The features, of the hundred that a processor states, that inference kernels are written for."""
_LEVELS = {
    "x86_64_v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86_64_v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
    "x86_64_v2": {"popcnt", "sse4_1", "sse4_2", "ssse3"},
}
"""What each x86-64 psABI level adds, in Linux's words."""
_CARD = re.compile(r"(.+), (\d+|\[N/A\]), (\d+\.\d+)")
"""A line of nvidia-smi's: the card's name, MiB of its memory, its compute capability."""


def detect() -> dict[str, Any]:
    """System, architecture, processor, memory, accelerator; what cannot be known is left out."""
    machine = platform.machine().lower()
    if platform.system() == "Darwin" and machine == "arm64":
        return _with_memory({"os.family": "macos", "os.arch": "arm64", **_processor(), **apple(_sysctl())})
    found: dict[str, Any] = {
        "os.family": _FAMILIES.get(platform.system(), platform.system().lower()),
        "os.arch": _ARCHITECTURES.get(machine, machine),
        "cpu.features": features(),
        **_processor(),
    }
    if (card := _nvidia()) or Path("/proc/driver/nvidia/version").exists():
        found |= {"accelerator.kind": "cuda", **card}
    return _with_memory(found)


def apple(told: str) -> dict[str, Any]:
    """What sysctl tells of an Apple chip: its name, the cores for heavy work, and its features in Linux's words."""
    said = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
    has = [feature for name, features in _APPLE_FEATURES.items() if said.get(name) == "1" for feature in features]
    found: dict[str, Any] = {"accelerator.kind": "metal", "cpu.features": sorted(has)}
    if name := said.get(_APPLE_NAME):
        found["accelerator.name"] = name
    if said.get(_APPLE_CORES, "").isdigit():
        found["cpu.cores"] = int(said[_APPLE_CORES])
    return found


def level(found: Mapping[str, Any]) -> str | None:
    """The newest x86-64 level, in archspec's words, that a machine implements whole."""
    if found.get("os.arch") != "amd64":
        return None
    has, needed = set(found.get("cpu.features", ())), set[str]()
    reached = "x86_64"
    for name, adds in reversed(_LEVELS.items()):
        needed |= adds
        if needed <= has:
            reached = name
    return reached


def vector_features(found: Mapping[str, Any]) -> list[str]:
    """Those of a machine's CPU features that inference kernels are written for."""
    return [name for name in found.get("cpu.features", ()) if _VECTOR.fullmatch(name)]


def features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """The CPU features that every core has, in Linux's words."""
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        cores = [set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))]
        return sorted(set.intersection(*cores)) if cores else []
    return []


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Physical cores, hardware threads and the last cache, of those that this process may use."""
    threads = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    found: dict[str, Any] = {"cpu.threads": len(threads), "cpu.cores": len(threads)}
    root = Path("/sys/devices/system/cpu")
    siblings = {_text(root / f"cpu{number}" / "topology" / "thread_siblings_list") for number in threads}
    if cpuinfo.is_file() and None not in siblings:
        found["cpu.cores"] = len(siblings)
    caches = [_text(path) for path in sorted((root / f"cpu{threads[0]}" / "cache").glob("index*/size"))]
    if caches and caches[-1] is not None and caches[-1].endswith("K"):
        found["cpu.llc_kib"] = int(caches[-1][:-1])
    return found


def _with_memory(found: dict[str, Any]) -> dict[str, Any]:
    total = _memory()
    return found if total is None else {**found, "memory.total_mib": total}


def _memory() -> int | None:
    """MiB, as the control groups allow."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = memory_limit()
    return (total if limit is None else min(total, limit)) // _MIB


def _nvidia() -> dict[str, Any]:
    """The first card as NVIDIA's own tool describes it; nothing where that is not installed, or finds none.

    Where the GPU shares the main memory (Jetson, GB10), the tool states `[N/A]` for its memory.
    """
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    stated = _CARD.fullmatch((done.stdout.splitlines() or [""])[0].strip())
    if done.returncode or stated is None:
        return {}
    name, memory, capability = stated.groups()
    return {
        "accelerator.name": name,
        "accelerator.memory_mib": int(memory) if memory.isdigit() else 0,
        "accelerator.compute": f"sm_{capability.replace('.', '')}",
    }


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


_APPLE_NAME = "machdep.cpu.brand_string"
_APPLE_CORES = "hw.perflevel0.physicalcpu"
_APPLE_FEATURES = {
    "hw.optional.AdvSIMD": ("asimd",),
    "hw.optional.arm.FEAT_DotProd": ("asimddp",),
    "hw.optional.arm.FEAT_FP16": ("asimdhp", "fphp"),
    "hw.optional.arm.FEAT_BF16": ("bf16",),
    "hw.optional.arm.FEAT_I8MM": ("i8mm",),
    "hw.optional.arm.FEAT_SME": ("sme",),
    "hw.optional.arm.FEAT_SME2": ("sme2",),
}
"""Names that sysctl has for what a profile speaks of; those that a chip or a system does not know are not told."""


def _sysctl() -> str:
    names = (_APPLE_NAME, _APPLE_CORES, *_APPLE_FEATURES)
    return subprocess.run(["/usr/sbin/sysctl", *names], capture_output=True, text=True, check=False).stdout
