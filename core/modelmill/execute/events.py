"""What the engine tells, while it runs, to whoever shows it to people."""

from dataclasses import dataclass

from modelmill.plan import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A step began to run; `log` is where its output goes."""

    step: Step
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A step has written this many bytes of those that it will."""

    step: Step
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Another build is making this step's result; it will be used when it is there."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A step's result is in the store. `reused`: another build made it meanwhile."""

    step: Step
    seconds: float
    peak_memory: int
    size: int
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A step gave no result."""

    step: Step
    message: str


Event = Started | Progress | Waiting | Finished | Failed
