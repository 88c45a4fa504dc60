"""The lock of a build file: what every source resolved to, and every toolchain."""

from modelmill.lock.files import Locked, lock_command, lock_path, read_lock, write_lock
from modelmill.lock.records import Drift, LockedFile, LockedSource
from modelmill.lock.resolve import Resolver, SourceState
from modelmill.lock.toolchains import LockedToolchain, Pin, this_platform

__all__ = [
    "Drift",
    "Locked",
    "LockedFile",
    "LockedSource",
    "LockedToolchain",
    "Pin",
    "Resolver",
    "SourceState",
    "lock_command",
    "lock_path",
    "read_lock",
    "this_platform",
    "write_lock",
]
