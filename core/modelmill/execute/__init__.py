"""The plan's steps, run: in child processes, as many at once as the machine holds."""

from modelmill.execute.events import Event, Failed, Finished, Progress, Started, Waiting
from modelmill.execute.fuse import fuse
from modelmill.execute.needs import Work, too_large, work
from modelmill.execute.run import Outcome, Settings, execute

__all__ = [
    "Event",
    "Failed",
    "Finished",
    "Outcome",
    "Progress",
    "Settings",
    "Started",
    "Waiting",
    "Work",
    "execute",
    "fuse",
    "too_large",
    "work",
]
