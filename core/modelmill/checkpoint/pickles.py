"""Which files are Python pickles, told by their content and never by loading them."""

import pickletools
import zipfile
from pathlib import Path

_WINDOW = 4096
_FIRST_PROTOCOL_2 = 0x80


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, bare (any protocol) or inside a zip as torch writes it.

    Only opcodes are read, at most the first four kilobytes and a zip's directory. A pickle that is broken
    later still counts: loading it runs what comes before.
    """
    with path.open("rb") as file:
        start = file.read(_WINDOW)
    if start.startswith(b"PK\x03\x04"):
        return _zip_with_pickle(path)
    if len(start) > 1 and start[0] == _FIRST_PROTOCOL_2 and 2 <= start[1] <= 5:  # noqa: PLR2004 - protocols
        return True
    return _old_protocol(start)


def _zip_with_pickle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".pkl"):
                    return True
                with archive.open(member) as file:
                    head = file.read(2)
                if len(head) == 2 and head[0] == _FIRST_PROTOCOL_2 and 2 <= head[1] <= 5:  # noqa: PLR2004
                    return True
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        return False
    return False


def _old_protocol(start: bytes) -> bool:
    """Protocols 0 and 1 have no magic: a file is one if it reads as opcodes that can import or build."""
    seen = 0
    try:
        for opcode, _, _ in pickletools.genops(start):
            seen += 1
            if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST", "REDUCE"):
                return True
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
        return False
    return seen > 1
