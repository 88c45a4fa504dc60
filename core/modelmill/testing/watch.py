"""Runs a step and notes what it writes outside its folders: the kit hands this file's text to the child's Python.

It is no module that the child imports: its Python may be that of a tool environment, which has no kit.
"""

# ruff: noqa: PTH100, PTH115, PTH117, PTH118 - paths stay strings: this runs at every file that a step opens.

import contextlib
import os
import runpy
import sys
from collections.abc import Callable, Iterator

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DEVICES = ("/dev", "/proc")
CHANGES = {
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.symlink": ((1, 2),),
    "os.link": ((1, 3),),
}
"""Where in an event's arguments the changed path is, and where the descriptor of the folder that it starts from."""
FOLLOWS = {"open", "os.truncate", "os.chmod"}
"""What changes the file that a link leads to, and not the link."""
UNSURE = "?"
"""Before a path that may start from a folder which the event does not name: a stray if something is there then."""


def changed(event: str, arguments: tuple[object, ...]) -> Iterator[tuple[str, bool]]:
    """The paths that an audit event is about to change, and whether that of an open may start from another folder."""
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes)) and isinstance(flags, int) and flags & WRITING:
            name = os.fsdecode(path)
            # os.open names no mode, and of the folder it starts from (dir_fd) the event says nothing.
            yield name, mode is None and not os.path.isabs(name)
    for place, start in CHANGES.get(event, ()):
        path, folder = arguments[place], -1 if start is None else arguments[start]
        if isinstance(path, (str, bytes)) and isinstance(folder, int):
            # Of a descriptor that is not open nothing comes: the call itself fails next.
            with contextlib.suppress(OSError):
                yield os.path.join("" if folder < 0 else folder_of(folder), os.fsdecode(path)), False


def folder_of(descriptor: int) -> str:
    """The path of an open folder."""
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{descriptor}")


def is_below(path: str, roots: tuple[str, ...]) -> bool:
    """Whether a path is one of the roots or below one."""
    return any(path == root or path.startswith(root + os.sep) for root in roots)


def watch(report: int, allowed: tuple[str, ...]) -> Callable[[str, tuple[object, ...]], None]:
    """An audit hook that writes each path outside the allowed folders to a descriptor, a line for each."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        for path, is_unsure in changed(event, arguments):
            found = os.path.abspath(path)
            if is_below(found, DEVICES):
                continue
            # The link itself is what is removed or made: only the folder that it is in is looked up.
            folder, name = os.path.split(found)
            real = os.path.realpath(found) if event in FOLLOWS else os.path.join(os.path.realpath(folder), name)
            if not is_below(real, allowed):
                line = (UNSURE if is_unsure else "") + real
                os.write(report, line.encode(errors="backslashreplace") + b"\n")

    return hook


if __name__ == "__main__":
    _, strays, folders, channel = sys.argv
    sys.addaudithook(watch(os.open(strays, os.O_WRONLY | os.O_CREAT | os.O_APPEND), tuple(folders.split(os.pathsep))))
    sys.argv = ["modelmill.step", channel]
    runpy.run_module("modelmill.step", run_name="__main__")
