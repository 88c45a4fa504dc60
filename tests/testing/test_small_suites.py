"""The suites for sources, packagers, signers and profiles: each fault is found by the test for it, in one sentence."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from modelmill import (
    HardwareProfile,
    Location,
    Opener,
    PackageJob,
    Packager,
    Resolution,
    SignerOffer,
    Source,
    SourceError,
    SourceFile,
    Stream,
)
from modelmill.testing import HardwareSuite, PackagerSuite, SignerSuite, SourceSuite, make_artifact
from modelmill_artifacts import keys
from modelmill_signers import create, pem

FILES = {"config.json": b"{}", "model.bin": bytes(range(256))}


class Sources(SourceSuite):
    plugin = "little_plugin"
    name = "folder"

    def make_location(self, folder: Path) -> tuple[Location, Mapping[str, bytes]]:
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        return Location(uri=str(folder), revision=None, base=folder), FILES


def source(fault: str = "") -> Source:
    answers: list[Resolution] = []

    def resolve(location: Location, scratch: Path) -> Resolution:
        paths = sorted(Path(location.uri).glob("*"))
        if not paths and fault != "says nothing of what is not there":
            raise (LookupError if fault == "raises what nobody expects" else SourceError)("there is nothing")
        if fault == "remembers what it saw" and answers:
            return answers[0]
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        told = digests | ({"config.json": "0" * 64} if fault == "tells a wrong digest" else {})
        files = [
            SourceFile(path=name, size=Path(location.uri, name).stat().st_size, sha256=told[name]) for name in told
        ]
        revision = str(scratch) if fault == "answers in two ways" else str(digests)
        revision = "" if fault == "names no revision" else revision
        answers.append(Resolution(revision=revision, files=tuple(files[fault == "loses a file" :])))
        return answers[-1]

    @contextmanager
    def connect(location: Location, scratch: Path) -> Iterator[Opener]:
        del scratch

        def opener(file: SourceFile, start: int) -> Stream:
            path = Path(location.uri) / file.path
            if not path.exists():
                if fault == "makes up what is gone":
                    return Stream(read=lambda count: b"", close=lambda: None)  # noqa: ARG005
                raise (KeyError if fault == "raises what nobody expects" else SourceError)(f"{file.path} is gone")
            stream = path.open("rb")
            stream.seek(0 if fault == "starts elsewhere than it says" else start)
            if fault == "touches what it reads":
                os.utime(path, (1, 1))
            return Stream(read=stream.read, close=stream.close, start=start)

        yield opener

    return Source(name="folder", resolve=resolve, connect=connect)


class Packagers(PackagerSuite):
    plugin = "little_plugin"
    name = "list"


@dataclass(frozen=True)
class Options:
    order: Literal["name", "size", "time"] = "name"


def packager(fault: str = "") -> Packager[Options]:
    def package(job: PackageJob[Options]) -> None:
        paths = sorted(path for path in job.artifact.rglob("*") if path.is_file())
        if job.options.order == "size":
            paths.sort(key=lambda path: path.stat().st_size)
            if fault == "has a choice that crashes":
                raise ZeroDivisionError("nobody tried it")
        if job.options.order == "time" and fault == "has a choice that depends on times":
            (job.out / "times").write_text(str([path.stat().st_mtime_ns for path in paths]))
        if fault == "changes the artifact":
            (job.artifact / "packaged").touch()
        if fault == "writes into the working folder":
            Path("packaged").touch()
        if fault == "names where it was":
            (job.out / "where").write_text(str(job.out))
        if fault != "packages nothing":
            (job.out / "list").write_text("\n".join(path.name for path in paths))

    table = "sign" if fault == "takes a table of the build file's own" else "list"
    return Packager(name="list", formats=(), options=Options, package=package, table=table)


class Signers(SignerSuite):
    plugin = "little_plugin"
    scheme = "little"

    def make_key(self, folder: Path) -> str:
        create.new(folder / "key.pem")
        return "key.pem"


@dataclass(frozen=True)
class Mixed:
    """It signs with one key and shows another."""

    public_key: keys.PublicKey
    sign: Callable[[bytes], bytes]


def signer(fault: str = "") -> SignerOffer:
    def opener(key: str, base: Path) -> Any:
        path = base / key
        if fault == "raises what nobody expects" and not path.exists():
            raise FileNotFoundError(path)
        if fault == "makes a key of its own each time":
            path = base / f"key-{len(list(base.iterdir()))}.pem"
            create.new(path)
        opened = pem.open_file(path)
        if fault == "shows another key":
            return Mixed(create.new(base / "other.pem"), opened.sign)
        return opened

    return SignerOffer(scheme="little", open=opener)


class Profiles(HardwareSuite):
    plugin = "little_plugin"


PROFILE = """
inherits = ["generic-arm64"]
description = "A board."
[memory]
total_mib = 1024
[evidence]
memory = "its manual"
"""


def profile(fault: str = "") -> HardwareProfile:
    faults = {
        "has no evidence": PROFILE + "[storage]\nsplit_mib = 64\n",
        "has a key that nobody knows": PROFILE.replace("total_mib", "total_mb"),
        "knows a scheme that is none": PROFILE + '[runtime.llamacpp]\nfast = ["Q4_9"]\n',
    }
    name = "A Board" if fault == "has a name with a space" else "a-board"
    return HardwareProfile(name=name, toml=faults.get(fault, PROFILE))


SOURCES, PACKAGERS, SIGNERS, PROFILES = Sources(), Packagers(), Signers(), Profiles()


def of_source(test: Callable[..., None]) -> Callable[[str, Path], None]:
    def attempt(fault: str, folder: Path) -> None:
        (folder / "place").mkdir()
        test(source(fault), SOURCES.make_location(folder / "place"), folder)

    return attempt


def of_packager(test: Callable[..., None], *more: object) -> Callable[[str, Path], None]:
    return lambda fault, folder: test(packager(fault), make_artifact(folder / "artifact"), folder, *more)


def choice(value: str) -> Callable[[str, Path], None]:
    return of_packager(PACKAGERS.test_every_choice_of_every_option_works_or_is_refused, ("order", value))


def alone(fault: str, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        of_packager(PACKAGERS.test_artifact_and_working_folder_stay_as_they_were, patch)(fault, folder)


def offered(fault: str, folder: Path) -> None:
    del folder
    module = ModuleType("little_plugin")
    module.modelmill_packagers = lambda: (packager(fault),)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "little_plugin", module)
        PACKAGERS.test_what_the_plugin_offers_are_records()


def of_profile(test: Callable[[HardwareProfile], None]) -> Callable[[str, Path], None]:
    def attempt(fault: str, folder: Path) -> None:
        del folder
        module = ModuleType("little_plugin")
        module.modelmill_hardware = lambda: (profile(fault),)  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "little_plugin", module)
            test(profile(fault))

    return attempt


TESTS: dict[str, Callable[[str, Path], None]] = {
    "source: every file": of_source(SOURCES.test_resolve_finds_every_file),
    "source: twice": of_source(SOURCES.test_resolve_gives_the_same_answer_twice),
    "source: read": of_source(partial(SOURCES.test_files_are_read_from_any_place_on, part=0.5)),
    "source: changed": of_source(SOURCES.test_files_that_changed_since_the_lock_are_noticed),
    "source: gone": of_source(SOURCES.test_a_file_that_is_gone_since_the_lock_is_a_source_error),
    "source: nothing": lambda fault, folder: SOURCES.test_nothing_there_is_a_source_error(source(fault), folder),
    "packager: bytes": of_packager(PACKAGERS.test_same_artifact_gives_same_bytes_wherever_it_lies),
    "packager: size": choice("size"),
    "packager: time": choice("time"),
    "packager: alone": alone,
    "packager: offered": offered,
    "signer: verifies": lambda fault, folder: SIGNERS.test_what_it_signs_verifies_with_its_public_key(
        signer(fault), folder
    ),
    "signer: changed": lambda fault, folder: SIGNERS.test_a_changed_signature_does_not_verify(signer(fault), folder),
    "signer: twice": lambda fault, folder: SIGNERS.test_the_same_key_opens_twice(signer(fault), folder),
    "signer: missing": lambda fault, folder: SIGNERS.test_a_key_that_is_not_there_is_a_sign_error(
        signer(fault), folder
    ),
    "hardware: sound": of_profile(PROFILES.test_profile_is_sound),
    "hardware: name": of_profile(PROFILES.test_name_can_stand_in_a_path),
    "hardware: evidence": of_profile(PROFILES.test_figures_say_where_they_come_from),
    "hardware: schemes": of_profile(PROFILES.test_runtimes_are_said_to_run_schemes_that_exist),
}
SOURCE, PACKAGER, SIGNER = (f"little_plugin: {name}" for name in ("source folder", "packager list", "signer little"))
FAULTS: dict[tuple[str, str], str] = {
    ("loses a file", "source: every file"): f"{SOURCE}: finds other files than there are: ",
    ("tells a wrong digest", "source: every file"): f"{SOURCE}: config.json: tells a digest that the file does not",
    ("names no revision", "source: every file"): f"{SOURCE}: resolves to no exact revision",
    ("answers in two ways", "source: twice"): f"{SOURCE}: resolves the same place in two ways",
    ("starts elsewhere than it says", "source: read"): f"{SOURCE}: config.json: other bytes come from 1 on",
    ("touches what it reads", "source: read"): f"{SOURCE}: changes what it reads",
    ("remembers what it saw", "source: changed"): f"{SOURCE}: every file changed, and it resolves to the revision",
    ("makes up what is gone", "source: gone"): f"{SOURCE}: model.bin is gone, and other bytes come in its place",
    ("raises what nobody expects", "source: gone"): f"{SOURCE}: read, of what is no more as it was locked: KeyError: ",
    ("raises what nobody expects", "source: nothing"): f"{SOURCE}: a place where nothing is: LookupError and not ",
    ("says nothing of what is not there", "source: nothing"): f"{SOURCE}: a place where nothing is: no SourceError",
    ("packages nothing", "packager: bytes"): f"{PACKAGER}: the package is empty",
    ("names where it was", "packager: bytes"): f"{PACKAGER}: the bytes depend on where the artifact lies, or on its",
    ("has a choice that crashes", "packager: size"): f"{PACKAGER}: order = 'size': package: ZeroDivisionError: ",
    ("has a choice that depends on times", "packager: time"): f"{PACKAGER}: order = 'time': the bytes depend on ",
    ("changes the artifact", "packager: alone"): f"{PACKAGER}: changes the artifact, which is read-only",
    ("writes into the working folder", "packager: alone"): f"{PACKAGER}: writes into its working folder",
    ("takes a table of the build file's own", "packager: offered"): (
        "little_plugin offers the packager 'list' with the table 'sign', which is a key of build.toml's own"
    ),
    ("shows another key", "signer: verifies"): f"{SIGNER}: sign: ArtifactError: ",
    ("makes a key of its own each time", "signer: twice"): f"{SIGNER}: a key opened twice is two keys",
    ("raises what nobody expects", "signer: missing"): f"{SIGNER}: a key that is not there: FileNotFoundError and ",
    ("has a key that nobody knows", "hardware: sound"): "little_plugin: hardware a-board: ",
    ("has a name with a space", "hardware: name"): "little_plugin: hardware A Board: lower-case letters, digits, ",
    ("has no evidence", "hardware: evidence"): "little_plugin: hardware a-board: has no [evidence] for storage",
    ("knows a scheme that is none", "hardware: schemes"): "little_plugin: hardware a-board: runtime.llamacpp.fast: ",
}


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_one_passes(test: str, tmp_path: Path) -> None:
    TESTS[test]("", tmp_path)


@pytest.mark.parametrize(("fault", "test"), FAULTS)
def test_it_is_caught_that_one(fault: str, test: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)) as raised:
        TESTS[test](fault, tmp_path)
    assert str(raised.value).startswith(FAULTS[fault, test])


def test_a_source_that_cannot_be_changed_is_said_to_be_untried(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    place = SOURCES.make_location(tmp_path / "place")
    (tmp_path / "place").rename(tmp_path / "elsewhere")
    moved = Location(uri=str(tmp_path / "elsewhere"), revision=None, base=tmp_path), place[1]
    with pytest.raises(pytest.skip.Exception, match=r"^little_plugin: source folder: the suite does not say how to"):
        SOURCES.test_files_that_changed_since_the_lock_are_noticed(source(), moved, tmp_path)
