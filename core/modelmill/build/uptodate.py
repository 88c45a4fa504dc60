"""Whether a build has nothing to do, told from the stat of every file that it looked at the last time.

The whole way (plugins, sources, plan, store) costs a few hundred milliseconds of imports; this costs a stat for
each file. It may only ever say "nothing changed" where the whole way would: anything unknown is a no. So this
module imports next to nothing, and what it remembers is written by the whole way itself (see `remember`).
"""

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable

_RACY_NS = 2_000_000_000
_ENVIRONMENT = (
    "MODELMILL_STORE",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "HOME",
    "PYTHONPATH",
    "LLAMA_CPP_LIB_PATH",
    "PATH",
)


def answer(arguments: list[str]) -> str | None:
    """What the build that these arguments ask for would print, if it would do nothing else; None if unsure."""
    try:
        with open(_memory(arguments), encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs a third of the time
            known = json.load(file)
        for path, stamp in known["files"].items():
            if _stamp(path) != stamp:
                return None
        return str(known["message"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remember(arguments: list[str], files: Iterable[str], message: str) -> None:
    """Keep that the build of these arguments had nothing to do, given these files and folders.

    Keeps nothing where one of them changed so lately that its stat could not tell another change.
    """
    stamps = {path: _stamp(path) for path in files}
    youngest = max((max(stamp[1], stamp[2]) for stamp in stamps.values() if stamp is not None), default=0)
    if youngest > time.time_ns() - _RACY_NS:
        return
    memory = _memory(arguments)
    temporary = f"{memory}.{os.getpid()}"
    with contextlib.suppress(OSError):  # on a full or read-only disk: the next build goes the whole way
        os.makedirs(os.path.dirname(memory), exist_ok=True)  # noqa: PTH103, PTH120
        try:
            with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
                json.dump({"files": stamps, "message": message}, file)
            os.replace(temporary, memory)  # noqa: PTH105
        except OSError:
            os.unlink(temporary)  # noqa: PTH108


def _stamp(path: str) -> list[int] | None:
    """Size, mtime, ctime and inode of a file; of a folder the same, so that a new name in it is a change."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _memory(arguments: list[str]) -> str:
    """The file that remembers builds asked for in these words, here, by this interpreter, in this environment."""
    question = {
        "arguments": arguments,
        "folder": os.getcwd(),  # noqa: PTH109
        "python": [sys.executable, sys.version, sys.path],
        "environment": [os.environ.get(name) for name in _ENVIRONMENT],
    }
    name = hashlib.sha256(json.dumps(question).encode()).hexdigest()
    return os.path.join(_store(arguments), "uptodate", f"{name}.json")  # noqa: PTH118


def _store(arguments: list[str]) -> str:
    """Where the store is, by the rule of `modelmill.store.store_folder`."""
    for place, word in enumerate(arguments):
        if word == "--store" and place + 1 < len(arguments):
            return arguments[place + 1]
        if word.startswith("--store="):
            return word.partition("=")[2]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/"), ".cache")  # noqa: PTH118
    return os.environ.get("MODELMILL_STORE") or os.path.join(cache, "modelmill")  # noqa: PTH118
