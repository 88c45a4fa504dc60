"""The process that runs the plugin's code, and tells how that ended."""

import contextlib
import errno
import json
import mmap
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from modelmill.errors import ConvertError
from modelmill.step.check import check
from modelmill.step.jobs import decode_job
from modelmill.step.processes import die_first, die_with_parent, forget_children

NOTE_BYTES = 1 << 16
_MESSAGE_CHARACTERS = 10_000
"""Even with every character escaped as six bytes, such a message fits the note."""


def work(data: Mapping[str, Any], note: mmap.mmap) -> None:
    """Run one job and put its outcome into the note; never returns."""
    code = 1
    outcome: dict[str, Any] = {}
    try:
        os.setpgid(0, 0)
        die_first()
        die_with_parent()
        forget_children()
        maker, job = decode_job(data)
        maker.run(job)
        if data["validate"] is not None and any(job.out.iterdir()):
            check(data["validate"], job.out, data.get("checker"))
        outcome = {"event": "ran"}
        code = 0
    except ConvertError as error:
        outcome = {"event": "refused", "message": str(error)[:_MESSAGE_CHARACTERS]}
        code = 0
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; the engine says whose it was
        outcome = raised(error)
        code = 0
        with contextlib.suppress(OSError, MemoryError):  # the log's disk may be full
            traceback.print_exc()
    finally:
        if code == 0:
            note[:] = json.dumps(outcome).encode().ljust(NOTE_BYTES)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def raised(error: BaseException) -> dict[str, Any]:
    """What a plugin raised, and whether the machine was at fault: out of `memory`, or of room on its `disk`."""
    lacks = None
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        lacks = "memory"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        lacks = "disk"
    message = str(error)[:_MESSAGE_CHARACTERS]
    return {"event": "raised", "type": type(error).__name__, "message": message, "lacks": lacks}
