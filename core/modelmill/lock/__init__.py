"""build.lock: what every source resolved to."""

from modelmill.lock.files import read_lock, write_lock
from modelmill.lock.records import LockedFile, LockedSource
from modelmill.lock.resolve import Resolver, SourceState

__all__ = ["LockedFile", "LockedSource", "Resolver", "SourceState", "read_lock", "write_lock"]
