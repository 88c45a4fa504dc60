"""A plugin for the tests of tool environments: two converters whose tools clash, each in a toolchain of its own."""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill import Converter, ConvertError, Estimate, Facts, Format, HardwareProfile, Job, Outlook, Toolchain
from modelmill import hookimpl as implements

TOOL = "tinytool"
OLD = Toolchain(name="old", requires=("tinytool==1.0",))
NEW = Toolchain(name="new", requires=("tinytool==2.0",))
BENCH = 'description = "a bench"\nos.family = "linux"\nos.arch = "amd64"\nmemory.total_mib = 1024\n'


@dataclass(frozen=True)
class Options:
    """None."""


def stamp(job: Job[Options]) -> None:
    tool = importlib.import_module(TOOL)
    seen = {
        "version": importlib.metadata.version(TOOL),
        "tool": Path(tool.__file__ or "").name,
        "leaks": [name for name in ("click", "cryptography", "pip", "setuptools") if importlib.util.find_spec(name)],
        "own": importlib.metadata.version("stamps"),
        "python": Path(sys.executable).parent.parent.name,
        "path": os.environ["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent),
    }
    (job.out / "stamp.json").write_text(json.dumps(seen, sort_keys=True))


def check(folder: Path) -> None:
    if importlib.util.find_spec("click") is None:
        raise ConvertError("stamp.json: is checked without the tools of its format's owner")
    if "bad" in (folder / "stamp.json").read_text():
        raise ConvertError("stamp.json: is bad")


def infer(outlook: Outlook[Options]) -> Facts:
    return Facts(format="stamp", scheme=outlook.scheme or "old")


def estimate(outlook: Outlook[Any], facts: Facts) -> Estimate:
    del outlook, facts
    return Estimate(bytes_out=100, peak_memory=30 << 20, seconds=0.1)


def nothing(folder: Path) -> None:
    del folder


@implements
def modelmill_formats() -> Iterable[Format]:
    yield Format(
        name="words",
        schemes=("plain",),
        detect=lambda folder: (folder / "words.txt").exists(),
        facts=lambda folder: Facts(format="words", files={"words.txt": (folder / "words.txt").stat().st_size}),
        validate=nothing,
    )
    yield Format(
        name="stamp",
        schemes=("old", "new"),
        detect=lambda folder: (folder / "stamp.json").exists(),
        facts=lambda folder: Facts(format="stamp"),  # noqa: ARG005
        validate=check,
    )


@implements
def modelmill_converters() -> Iterable[Converter[Any]]:
    for toolchain in (OLD, NEW):
        yield Converter(
            name=f"stamp-{toolchain.name}",
            takes="words",
            gives="stamp",
            schemes=(toolchain.name,),
            options=Options,
            run=stamp,
            infer=infer,
            estimate=estimate,
            toolchain=toolchain,
        )


@implements
def modelmill_hardware() -> Iterable[HardwareProfile]:
    yield HardwareProfile(name="bench", toml=BENCH)
