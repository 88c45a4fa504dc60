"""A plugin for the engine's tests: text that gets louder and shorter, and every way for a step to go wrong."""

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from modelmill import (
    Converter,
    ConvertError,
    Estimate,
    Facts,
    Format,
    HardwareProfile,
    Input,
    Job,
    Outlook,
    Quantizer,
    Refusal,
    hookimpl,
)

BENCH = """
description = "a test bench"
os.family = "linux"
os.arch = "amd64"
cpu.features = ["sse2"]
memory.total_mib = 1024
"""


@dataclass(frozen=True)
class Options:
    fault: Literal[
        "none",
        "raise",
        "refuse",
        "crash",
        "hang",
        "garbage",
        "orphan",
        "nothing",
        "exit",
        "link",
        "sleep",
        "unsound",
        "fill",
        "limited",
        "devour",
    ] = "none"
    repeat: int = 1
    megabytes: int = 0
    memory: int = 30


@dataclass(frozen=True)
class Short:
    length: int = 4


def go_wrong(fault: str, job: Job[Options]) -> None:
    match fault:
        case "raise":
            raise ZeroDivisionError("division by zero")
        case "refuse":
            raise ConvertError("words.txt: holds no words")
        case "crash":
            ctypes.string_at(0)
        case "hang":
            time.sleep(600)
        case "sleep":
            time.sleep(1.0)
        case "garbage":
            os.write(1, b"\x00\xff{'event': 'done'}\n" * 1000)
            os.write(2, b"\x1b[2J not a traceback\n")
        case "orphan":
            leave_behind(job)
        case "exit":
            os._exit(7)
        case "link":
            (job.out / "link").symlink_to("/etc/passwd")


ORPHAN = """
import os, sys, time
out, pid, diary = sys.argv[1:]
with open(pid + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(pid + ".new", pid)
for number in range(6000):
    open(diary, "a").write("x")
    if os.path.isdir(os.path.dirname(out)):
        open(out, "a").write("x")
    time.sleep(0.01)
"""


def leave_behind(job: Job[Options]) -> None:
    """A process in a session of its own, which writes into the result, and beside the store."""
    folder = job.limits.scratch.parents[3]
    words = (ORPHAN, str(job.out / "late"), str(folder / "orphan.pid"), str(folder / "orphan.diary"))
    subprocess.Popen([sys.executable, "-c", *words], start_new_session=True)
    while not (folder / "orphan.pid").exists():
        time.sleep(0.01)


def exhaust(fault: str, job: Job[Options]) -> None:
    match fault:
        case "fill":
            with (job.out / "ballast.bin").open("wb", buffering=0) as file:
                for _ in range(1024):
                    file.write(bytes(1 << 20))
        case "limited":
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            bytes(2 << 30)
        case "devour":
            kept = [b"x" * (1 << 20) for _ in range(1024)]
            raise RuntimeError(f"{len(kept)} MiB were to be had")


def loud(job: Job[Options]) -> None:
    go_wrong(job.options.fault, job)
    exhaust(job.options.fault, job)
    if job.options.fault == "nothing":
        return
    text = (job.source / "words.txt").read_text().upper() * job.options.repeat
    if job.options.fault == "unsound":
        text = "quiet"
    (job.out / "loud.txt").write_text(text)
    for number in range(job.options.megabytes):
        with (job.out / "ballast.bin").open("ab") as file:
            file.write(bytes([number % 251]) * (1 << 20))
        time.sleep(0.01)


def shorten(job: Job[Short]) -> None:
    length = job.options.length if job.scheme == "short" else 2
    words = (job.source / "loud.txt").read_text().split()
    (job.out / "loud.txt").write_text(" ".join(word[:length] for word in words) + "\n")


def spell(job: Job[Options]) -> None:
    (job.out / "spelling.txt").write_text((job.inputs["book"] / "words.txt").read_text())


def infer_loud(outlook: Outlook[Options]) -> Facts | Refusal:
    if outlook.options.repeat > 100:
        return Refusal(reason="nobody listens to a hundred repetitions")
    return replace(outlook.facts, format="loud", scheme=outlook.scheme or "upper")


def infer_short(outlook: Outlook[Short]) -> Facts | Refusal:
    return replace(outlook.facts, format="loud", scheme=outlook.scheme, quantization=outlook.scheme)


def infer_spelling(outlook: Outlook[Options]) -> Facts | Refusal:
    del outlook
    return Facts(format="spelling", scheme="spelling")


def estimate(outlook: Outlook[Any], facts: Facts) -> Estimate:
    del facts
    return Estimate(
        bytes_out=19 + (getattr(outlook.options, "megabytes", 0) << 20),
        peak_memory=getattr(outlook.options, "memory", 30) << 20,
        seconds=0.1,
    )


def facts_of(folder: Path) -> Facts:
    size = (folder / "words.txt").stat().st_size
    quantization = "whispered" if (folder / "whispered").exists() else None
    return Facts(format="letters", config={"size": size}, files={"words.txt": size}, quantization=quantization)


def check_loud(folder: Path) -> None:
    text = (folder / "loud.txt").read_text()
    if text != text.upper():
        raise ConvertError("loud.txt: is not loud")


def nothing(folder: Path) -> None:
    del folder


@hookimpl
def modelmill_formats() -> Iterable[Format]:
    yield Format(
        name="letters",
        schemes=("plain",),
        detect=lambda folder: (folder / "words.txt").exists(),
        facts=facts_of,
        validate=nothing,
    )
    yield Format(
        name="loud",
        schemes=("upper", "short", "tiny"),
        detect=lambda folder: (folder / "loud.txt").exists(),
        facts=lambda folder: Facts(format="loud", scheme="upper"),  # noqa: ARG005
        validate=check_loud,
        usage="cat {file}",
        runtimes=("horn", "drum"),
    )
    yield Format(
        name="spelling",
        schemes=("spelling",),
        detect=lambda folder: (folder / "spelling.txt").exists(),
        facts=lambda folder: Facts(format="spelling"),  # noqa: ARG005
        validate=nothing,
    )


@hookimpl
def modelmill_converters() -> Iterable[Converter[Any]]:
    yield Converter(
        name="shout",
        takes="letters",
        gives="loud",
        schemes=("upper",),
        options=Options,
        run=loud,
        infer=infer_loud,
        estimate=estimate,
        reads=("words.txt", "whispered"),
    )
    yield Converter(
        name="spell",
        takes="loud",
        gives="spelling",
        schemes=("spelling",),
        options=Options,
        run=spell,
        infer=infer_spelling,
        estimate=estimate,
        inputs={"book": Input(format="letters", required=True)},
    )


@hookimpl
def modelmill_quantizers() -> Iterable[Quantizer[Any]]:
    yield Quantizer(
        name="shorten",
        format="loud",
        schemes=("short", "tiny"),
        options=Short,
        run=shorten,
        infer=infer_short,
        estimate=estimate,
        inputs={"spelling": Input(format="spelling")},
        uses_hardware=("cpu.features",),
    )


@hookimpl
def modelmill_hardware() -> Iterable[HardwareProfile]:
    yield HardwareProfile(name="bench", toml=BENCH)
