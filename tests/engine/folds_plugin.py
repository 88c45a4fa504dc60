"""A plugin for the tests of fused steps: capitals, which may be cut, and one record that does both in one go."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelmill import Converter, Estimate, Facts, Format, HardwareProfile, Job, Outlook, Quantizer, hookimpl

BENCH = 'description = "a bench"\nos.family = "linux"\nos.arch = "amd64"\nmemory.total_mib = 1024\n'
LENGTHS = {"four": 4, "three": 3, "two": 2}


@dataclass(frozen=True, kw_only=True)
class Capitals:
    """`mark` is known to the fused record too, `border` is not, and `repeat` is the other step's as well."""

    mark: str = ""
    border: str = ""
    repeat: int = 1


@dataclass(frozen=True, kw_only=True)
class Cut:
    repeat: int = 1


@dataclass(frozen=True, kw_only=True)
class Both(Cut):
    mark: str = ""


def capitals(text: str, mark: str) -> str:
    return mark + text.upper()


def cut(text: str, scheme: str, options: Cut) -> str:
    return " ".join(word[: LENGTHS[scheme]] for word in text.split()) * options.repeat


def run_capitals(job: Job[Capitals]) -> None:
    text = (job.source / "words.txt").read_text()
    text = capitals(text, job.options.border + job.options.mark)
    (job.out / "caps.txt").write_text(text * job.options.repeat)


def run_cut(job: Job[Cut]) -> None:
    (job.out / "caps.txt").write_text(cut((job.source / "caps.txt").read_text(), job.scheme or "", job.options))


def run_both(job: Job[Both]) -> None:
    text = capitals((job.source / "words.txt").read_text(), job.options.mark)
    (job.out / "caps.txt").write_text(cut(text, job.scheme or "", job.options))


def infer(outlook: Outlook[Any]) -> Facts:
    return replace(outlook.facts, format="caps", scheme=outlook.scheme or "full")


def takes(seconds: float) -> Any:
    def estimate(outlook: Outlook[Any], facts: Facts) -> Estimate:
        del outlook, facts
        return Estimate(bytes_out=20, peak_memory=30 << 20, seconds=seconds)

    return estimate


def nothing(folder: Path) -> None:
    del folder


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    yield Format(
        name="words",
        schemes=("plain",),
        detect=lambda folder: (folder / "words.txt").exists(),
        facts=lambda folder: Facts(format="words"),  # noqa: ARG005
        validate=nothing,
    )
    yield Format(
        name="caps",
        schemes=("full", *LENGTHS),
        detect=lambda folder: (folder / "caps.txt").exists(),
        facts=lambda folder: Facts(format="caps"),  # noqa: ARG005
        validate=nothing,
    )


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    yield Converter(
        name="capitalize",
        takes="words",
        gives="caps",
        schemes=("full",),
        options=Capitals,
        run=run_capitals,
        infer=infer,
        estimate=takes(3),
        reads=("words.txt",),
    )
    yield Converter(
        name="capitalize-and-cut",
        takes="words",
        gives="caps",
        schemes=tuple(LENGTHS),
        options=Both,
        run=run_both,
        infer=infer,
        estimate=takes(2),
        reads=("words.txt",),
        replaces=("capitalize", "cut"),
    )


@hookimpl
def modelmill_quantizers() -> Iterable[Quantizer[Any]]:
    yield Quantizer(
        name="cut", format="caps", schemes=tuple(LENGTHS), options=Cut, run=run_cut, infer=infer, estimate=takes(1)
    )


@hookimpl
def modelmill_hardware() -> Iterable[HardwareProfile]:
    yield HardwareProfile(name="bench", toml=BENCH)
