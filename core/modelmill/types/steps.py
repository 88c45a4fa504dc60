"""Converters and quantizers: what each is given, what it foretells, and what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from modelmill.types.hardware import Hardware
from modelmill.types.model import Facts

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a step cannot do what is asked, and what would work: one sentence, shown to a person at plan time."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a step will take: bytes that it writes, bytes of memory at its peak, seconds on one core."""

    bytes_out: int
    peak_memory: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a step may use. None of it may influence a byte of the result; the conformance kit proves it."""

    threads: int = 1
    memory: int | None = None
    scratch: Path = Path("/nonexistent")
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a model came from, as build.lock has it: the source's URI, and the exact revision that it stands for."""

    uri: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[Options]):
    """All that may influence the bytes of one step, and nothing else."""

    source: Path
    """The input model's folder, read-only; only the files that the record's `reads` match are there."""
    inputs: Mapping[str, Path]
    """Further named inputs, each a folder like `source`."""
    out: Path
    """An empty folder; what is left here is the result."""
    scheme: str
    """One of the record's schemes."""
    options: Options
    hardware: Hardware | None
    limits: Limits
    lineage: Lineage | None = None
    """Only for a record that `uses_lineage`, and only of a source that is the same for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook(Generic[Options]):
    """All that is known of a step before it runs; what `infer` and `estimate` are given.

    `scheme` is None where a later step needs this step's format but no particular scheme: `infer` then
    chooses the one that loses nothing, and says so in the facts that it returns.
    """

    facts: Facts
    scheme: str | None
    options: Options
    inputs: Mapping[str, Facts] = field(default_factory=dict)
    hardware: Hardware | None = None
    lineage: Lineage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A further input that a step takes beside its source: an importance matrix, a calibration text, an adapter.

    A required one that the target does not name is made of the step's own source, where a converter without
    inputs makes this format of it: what must be measured in weights before a step may run is such a converter.
    """

    format: str
    required: bool = False
    reads: tuple[str, ...] = ("**",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Tools that must not share an environment with the engine's: the step runs in a virtual environment of its own.

    `name` (small letters, digits, dashes) is what build.lock and people call it; records that name the same one
    share its environment. `requires` are requirements as pip takes them (PEP 508: names, extras, versions, markers;
    no URLs). What they resolved to is pinned in build.lock: every distribution, by version and digest of its wheel.
    """

    name: str
    requires: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker(Generic[Options]):
    """What converters and quantizers have in common. Not offered by itself.

    `run` does the work in a child process and raises ConvertError for bad input. `infer` and `estimate` are
    pure, fast, need no tool, and run in the engine at plan time. `reads` are patterns (`fnmatch`, and `**`
    for every file) of the source's files that the step sees. `tools` are the distributions that make the
    bytes; they and all that they need enter the key. `requirement` is what to install where one is missing,
    such as `modelmill[gguf]`. `more_tools` names those that have a part in one step and not in another, each with its
    own requirement, from what `estimate` is given; it is as pure as that. A record with a `toolchain` names no tools:
    its tools are all that the toolchain resolved to. Raise `revision` when the same job gives other bytes than before.
    A record that `uses_lineage` writes into its result where the model came from, and makes it anew for every revision
    of the source. `replaces` names the chain of records whose work a fused record does in one go, byte for byte.
    """

    name: str
    schemes: tuple[str, ...]
    options: type[Options]
    run: Callable[[Job[Options]], None]
    infer: Callable[[Outlook[Options]], Facts | Refusal]
    estimate: Callable[[Outlook[Options], Facts], Estimate]
    revision: int = 1
    reads: tuple[str, ...] = ("**",)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    requirement: str = ""
    more_tools: Callable[[Outlook[Options], Facts], Mapping[str, str]] | None = None
    toolchain: Toolchain | None = None
    uses_hardware: tuple[str, ...] = ()
    uses_lineage: bool = False
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter(Maker[Options]):
    """Files of one format → files of another."""

    takes: str
    gives: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer(Maker[Options]):
    """A model → the same model in the same format, smaller."""

    format: str

    @property
    def takes(self) -> str:
        """The format that it reads."""
        return self.format

    @property
    def gives(self) -> str:
        """The format that it writes."""
        return self.format
