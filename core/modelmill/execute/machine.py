"""What this machine has for steps: cores and memory, as its control groups allow."""

import os

from modelmill.hardware.cgroup import memory_limit

_RESERVED = 0.9
"""The share of the memory that steps may have: the engine, the page cache and everybody else need some too."""


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory that steps may have together."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory_limit()
    return int((total if limit is None else min(total, limit)) * _RESERVED)
