"""Patience with a source that fails now and may work in a moment."""

import http.client
import time
from collections.abc import Callable
from typing import TypeVar

from modelmill.errors import SourceError, TransientError

TRIES = 5
_LONGEST_WAIT = 60.0

T = TypeVar("T")
Pause = Callable[[float], object]


def wait_of(failures: int, after: float | None) -> float:
    """Seconds before the next try: what the source asks for, else twice as long each time."""
    return min(_LONGEST_WAIT, after if after is not None else 0.5 * 2**failures)


def patiently(act: Callable[[], T], origin: str, pause: Pause = time.sleep) -> T:
    """The result of `act`, called again while connections are cut or it raises TransientError. SourceError at last."""
    for failures in range(TRIES):
        try:
            return act()
        except TransientError as error:
            reason, after = str(error), error.after
        except (http.client.HTTPException, OSError) as error:
            reason, after = f"{origin}: {error or type(error).__name__}", None
        if failures + 1 < TRIES:
            pause(wait_of(failures, after))
    raise SourceError(f"{reason}; gave up after {TRIES} tries")
