"""`artifact.json`: what an artifact is, what it needs, and every file that it consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from modelmill_artifacts import canonical, paths, record
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.record import AtLeast, Sha256, Size, Text

SCHEMA_VERSION = 1
MANIFEST = "artifact.json"
SBOM = "sbom.cdx.json"
PROVENANCE = "provenance.sigstore.json"
SIGNATURE = "model.sig"
UNLISTED = (MANIFEST, PROVENANCE, SIGNATURE)
"""The files that a manifest cannot list, because they are made after it."""

_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file: its path, relative and POSIX, its sha256, and its size in bytes."""

    path: Text
    sha256: Sha256
    size: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLock:
    """An input as build.lock pins it: the name that build.toml gives it, where it came from, and its files.

    `role` is `model` for the checkpoint itself, else what the step calls the input: `calibration`, `adapter`.
    """

    name: Text
    role: Text
    uri: Text
    revision: Text
    licence: Text | None
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One distribution that took part in making the bytes, with its exact version."""

    name: Text
    version: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that made the artifact, in order: its key, what it was, and its declared tools.

    `name` is the converter's or quantizer's; `plugin` is the distribution that it came from.
    """

    key: Sha256
    name: Text
    plugin: Text
    plugin_version: Text
    scheme: Text
    options: Mapping[str, Any]
    tools: tuple[Tool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """The hardware profile that the artifact was made for, and its requirements by dotted name."""

    profile: Text
    requires: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What whoever uses the artifact must know of how it was made.

    `requantized`: the values were quantized before. `experimental`: a part that made it is marked so.
    `reproducible`: every step gives the same bytes whenever it runs again.
    """

    requantized: bool = False
    experimental: bool = False
    reproducible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of one artifact.

    `licence` is an SPDX expression, a custom licence as `LicenseRef-NAME`. `parameters` counts the model's
    weights, `bits_per_weight` is what one of them takes in the artifact's weight files. `usage` is one shell
    command that runs the artifact. `notes` are sentences on what no other field says and whoever runs it should
    know. `files` lists every file but this one, the provenance and the signature.
    """

    schema_version: int = SCHEMA_VERSION
    name: Text
    version: Text
    target: Text
    format: Text
    scheme: Text | None
    architecture: Text | None
    parameters: Size
    bits_per_weight: Annotated[float, AtLeast(0)]
    licence: Text | None
    hardware: HardwareProfile | None
    files: tuple[File, ...]
    sources: tuple[SourceLock, ...]
    steps: tuple[Step, ...]
    flags: Flags = field(default_factory=Flags)
    usage: str = ""
    notes: tuple[Text, ...] = ()


def dump(manifest: Manifest) -> bytes:
    """The one byte form of a manifest; files are put in the order of their paths.

    Raises ArtifactError for a manifest that `load` would refuse.
    """
    files = tuple(sorted(manifest.files, key=lambda file: file.path))
    manifest = replace(manifest, files=files, bits_per_weight=float(manifest.bits_per_weight))
    data = canonical.pretty(record.write(manifest))
    load(data)
    return data


def load(data: bytes, where: str = MANIFEST) -> Manifest:
    """A manifest from its bytes. Raises ArtifactError for anything that `dump` cannot have written."""
    value = versioned(data, where, SCHEMA_VERSION)
    manifest = record.read(Manifest, value, where)
    listed = [file.path for file in manifest.files]
    paths.check_all([*listed, *UNLISTED], f"{where}: files")
    if listed != sorted(listed):
        raise ArtifactError(f"{where}: files are not in the order of their paths")
    for source in manifest.sources:
        paths.check_all([file.path for file in source.files], f"{where}: source {source.name!r}")
    return manifest


def read(folder: Path) -> Manifest:
    """The manifest of the artifact in this folder. Raises ArtifactError if there is none that is sound."""
    return load(contents(folder / MANIFEST), str(folder / MANIFEST))


def contents(path: Path, limit: int = _MAX_BYTES) -> bytes:
    """The bytes of a description file.

    Raises ArtifactError for a link, a missing file and one of more than `limit` bytes.
    """
    if path.is_symlink():
        raise ArtifactError(f"{path} is a symbolic link; an artifact holds plain files only")
    if not path.is_file():
        raise ArtifactError(f"{path.parent} holds no {path.name}; this is not a finished artifact or release")
    if path.stat().st_size > limit:
        raise ArtifactError(f"{path} has {path.stat().st_size} bytes, more than the {limit} that one may have")
    return path.read_bytes()


def versioned(data: bytes, where: str, version: int) -> Any:
    """The canonical JSON object in `data`, which must say that it has this schema version."""
    value = canonical.loads(data, where)
    found = value.get("schema_version") if isinstance(value, dict) else None
    if type(found) is not int or found != version:
        raise ArtifactError(f"{where}: schema version {found!r} is unknown; this modelmill reads version {version}")
    return value
