"""A plugin for the tests of build.toml's tables: packagers and a remote that write down what they were told."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from modelmill import ConvertError, PackageJob, Packager, Publication, Published, Pulled, PullJob, Remote, hookimpl

MODELMILL_API = 1


@dataclass(frozen=True)
class Lid:
    colour: str = "red"


@dataclass(frozen=True)
class Crate:
    """What a crate is made of."""

    wood: Literal["oak", "pine"] = "pine"
    """The kind of wood."""
    nails: int = 4
    lid: Lid = field(default_factory=Lid)

    def __post_init__(self) -> None:
        if self.nails < 0:
            raise ConvertError("nobody has fewer nails than none")
        if self.nails > 99:
            raise ZeroDivisionError("too many")


@dataclass(frozen=True)
class Box:
    address: str
    wood: str = ""


@dataclass(frozen=True)
class Yard:
    yard: Lid = field(default_factory=Lid)
    project: Mapping[str, Any] = field(default_factory=dict)


def package(job: PackageJob[Any]) -> None:
    (job.out / "options.json").write_text(json.dumps(asdict(job.options)))


def publish(job: Publication[Any]) -> Published:
    (job.root / "published.json").write_text(json.dumps(asdict(job.options)))
    return Published(reference=job.reference, digest="sha256:0", bytes_moved=0, bytes_skipped=0)


def pull(job: PullJob[Any]) -> Pulled:
    raise AssertionError(job)


@hookimpl
def modelmill_packagers() -> Iterable[Packager[Any]]:
    yield Packager(name="crate", formats=(), options=Crate, package=package, table="crate")
    yield Packager(name="pallet", formats=(), options=Crate, package=package, verb="deploy", table="crate")
    yield Packager(name="box", formats=("loud",), options=Box, package=package, table="box")
    yield Packager(name="chest", formats=("loud",), options=Lid, package=package, table="box")


@hookimpl
def modelmill_remotes() -> Iterable[Remote[Any]]:
    yield Remote(scheme="yard", options=Yard, publish=publish, pull=pull, tables=("yard", "project"))
