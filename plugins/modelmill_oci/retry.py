"""Patience with what fails now and may work in a moment."""

import time
from collections.abc import Callable
from typing import TypeVar

from modelmill import RemoteError
from modelmill_oci.access import Access

T = TypeVar("T")

_LONGEST_WAIT = 60.0


class TransientError(RemoteError):
    """A failure that may pass: a cut connection, 408, 429 or 5xx. `after` is how long the registry asks to wait."""

    def __init__(self, sentence: str, after: float | None = None) -> None:
        super().__init__(sentence)
        self.after = after


def wait(access: Access, attempt: int, error: TransientError) -> None:
    """Sleep before attempt number `attempt` + 1: what the registry asks for, else doubling waits."""
    asked = error.after if error.after is not None else access.backoff * 2.0**attempt
    time.sleep(min(asked, _LONGEST_WAIT))


def retrying(access: Access, act: Callable[[], T], progress: Callable[[], int] | None = None) -> T:
    """The result of `act`, called again while it raises TransientError.

    Gives up after `access.tries` failures in a row between which `progress` did not grow. Raises RemoteError.
    """
    attempt, seen = 0, progress() if progress else 0
    while True:
        try:
            return act()
        except TransientError as error:
            now = progress() if progress else 0
            attempt = 0 if now > seen else attempt
            seen = max(now, seen)
            if attempt + 1 >= access.tries:
                raise RemoteError(f"{error}; gave up after {access.tries} tries") from error
            wait(access, attempt, error)
            attempt += 1
