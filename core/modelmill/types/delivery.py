"""Where a finished artifact goes: packages, and the places that releases are published to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from modelmill.types.hardware import Hardware
from modelmill.types.steps import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageJob(Generic[Options]):
    """One finished artifact to package; nothing here is cached, so nothing here is in a key.

    `artifact` is the target's folder in a finished release, read-only, its `artifact.json` already checked.
    `out` is an empty folder: what is left there is the package. `hardware` is the target's whole profile. `root`
    is the folder that paths in the options are relative to: build.toml's. `memory` is the bytes that the artifact
    needs to run on its hardware (weights, KV cache, overhead), None where that is not known.
    """

    artifact: Path
    out: Path
    options: Options
    hardware: Hardware | None = None
    root: Path = Path()
    memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packager(Generic[Options]):
    """Artifact → a form that a deployment system takes.

    `formats` are the artifact formats that it packages; none means any. `verb` is the command that offers it:
    `package`, or `deploy` where the form is files for an orchestrator. `table` is the table of build.toml that
    fills the options, checked with the rest of the file: best named as the packager, and none of build.toml's own
    keys. Packagers may share one; each takes all of it. `package` writes, and raises ConvertError for what cannot
    be packaged. `load` puts a package (the folder that `package` left) into a local engine and returns the name
    that it has there.
    """

    name: str
    formats: tuple[str, ...]
    options: type[Options]
    package: Callable[[PackageJob[Options]], None]
    load: Callable[[Path], str] | None = None
    verb: str = "package"
    table: str = ""
    requirement: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication(Generic[Options]):
    """A finished release to publish, and where to.

    `release` is `dist/<name>/<version>`, already verified. `reference` is what follows the URI's scheme.
    `sign` turns the bytes of an in-toto statement into a signed bundle; None publishes unsigned. `report` is
    told, in one line each, what happens. `root` is the folder that paths in the options are relative to: build.toml's.
    """

    release: Path
    reference: str
    options: Options
    root: Path = Path()
    sign: Callable[[bytes], bytes] | None = None
    report: Callable[[str], None] = lambda line: None  # noqa: ARG005


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publication came to: the immutable reference, and the bytes that moved or were there already."""

    reference: str
    digest: str
    bytes_moved: int
    bytes_skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullJob(Generic[Options]):
    """A published release to fetch an artifact of.

    `target` or `profile` names what to take; with neither, `hardware` (this machine, in a profile's fields) is
    there and decides. `output` does not exist yet and appears whole or not at all. `scratch` outlives a failed
    pull, so that the next one resumes. `verify(folder, target)` raises for a release folder (index, signatures
    and that one target) that is not to be trusted, and may leave a file beside the index that says that the target
    is a part of the release; it is called before `output` appears. `suits(profile, format, scheme)` is
    what a hardware profile says of a scheme: `fast`, `slow`, `impossible`; None where it says nothing.
    """

    reference: str
    output: Path
    scratch: Path
    options: Options
    verify: Callable[[Path, str], None]
    target: str | None = None
    profile: str | None = None
    hardware: Hardware | None = None
    report: Callable[[str], None] = lambda line: None  # noqa: ARG005
    suits: Callable[[str, str, str], str | None] = lambda profile, model_format, scheme: None  # noqa: ARG005


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a pull came to: the target that was chosen, why, and the digest of what was pulled."""

    target: str
    reason: str
    digest: str
    bytes_moved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote(Generic[Options]):
    """Where releases are published to and pulled from, picked by the URI's scheme. Both raise RemoteError.

    `tables` are the tables of build.toml that fill the options' fields of the same names, when a release is published.
    """

    scheme: str
    options: type[Options]
    publish: Callable[[Publication[Options]], Published]
    pull: Callable[[PullJob[Options]], Pulled]
    tables: tuple[str, ...] = ()
