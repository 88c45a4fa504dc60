"""How much memory the control groups that this process is in allow it."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def memory_limit(own: Path = _OWN, mount: Path = _MOUNT) -> int | None:
    """Bytes: the smallest limit of a control group of this process or of one around it; None without any.

    Linux, Documentation/admin-guide/cgroup-v2.rst (`memory.max`) and cgroup-v1/memory.rst (`memory.limit_in_bytes`).
    In a container that sees its own group only, that is the root of the mount.
    """
    found = [int(text) for text in _limits(own, mount) if text.isdigit()]
    return min(found, default=None)


def _limits(own: Path, mount: Path) -> Iterator[str]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in [*lines, "0::/", "0:memory:/"]:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (mount / "memory", "memory.limit_in_bytes") if controllers else (mount, "memory.max")
        group = PurePosixPath(path.lstrip("/"))
        for around in (group, *group.parents):
            try:
                yield (root / around / name).read_text().strip()
            except OSError:
                continue
