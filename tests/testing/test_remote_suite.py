"""The suite for remotes on one that is a folder: sound, it passes; each fault is found by the test for it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from modelmill import Publication, Published, Pulled, PullJob, Remote, RemoteError
from modelmill.testing import RemoteSuite
from modelmill.testing.folders import contents
from modelmill.testing.remotes import TARGET, make_release
from modelmill_artifacts import canonical, release


@dataclass(frozen=True, kw_only=True)
class Options:
    layout: Literal["flat", "deep"] = "flat"


def remote(fault: str = "") -> Remote[Options]:  # noqa: C901 - a fault a line
    def publish(job: Publication[Options]) -> Published:
        digest = canonical.sha256(contents(job.release))
        place = Path(job.reference) / release.read(job.release).version
        is_there = place.exists()
        if is_there and canonical.sha256(contents(place)) != digest and fault != "replaces a version":
            raise RemoteError(f"{place} is published already with other content")
        if is_there:
            shutil.rmtree(place)
        shutil.copytree(job.release, place)
        if job.options.layout == "deep" and fault == "has a choice that loses a file":
            (place / TARGET / "LICENSE").unlink()
        if fault == "changes the release":
            (job.release / "published").touch()
        moved = 1 if not is_there or fault == "moves all again" else 0
        return Published(reference=str(place), digest=digest, bytes_moved=moved, bytes_skipped=0)

    def pull(job: PullJob[Options]) -> Pulled:
        place = Path(job.reference)
        if not (place / "release.json").exists() and fault != "says nothing of what is not there":
            raise RemoteError(f"{place}: there is no release")
        others = [path.name for path in place.iterdir() if path.is_dir() and path.name != job.target]
        folder = job.output if fault == "appears before it is verified" else job.scratch / "release"
        shutil.copytree(place, folder, ignore=shutil.ignore_patterns(*others))
        if fault == "loses a file":
            (folder / str(job.target) / "LICENSE").unlink()
        if fault != "verifies nothing":
            job.verify(folder, str(job.target))
        if folder != job.output:
            folder.rename(job.output)
        digest = canonical.sha256(contents(place))
        return Pulled(target=str(job.target), reason="it was asked for", digest=digest, bytes_moved=1)

    return Remote(scheme="folder", options=Options, publish=publish, pull=pull)


class Suite(RemoteSuite):
    plugin = "little_plugin"
    scheme = "folder"


SUITE = Suite()
TESTS: dict[str, Callable[[Remote[Any], str, Path, Path], None]] = {
    "comes back": SUITE.test_a_release_comes_back_as_it_was,
    "choice": partial(SUITE.test_every_choice_of_every_option_works, choice=("layout", "deep")),
    "second": lambda record, place, made, _: SUITE.test_a_second_publish_moves_nothing(record, place, made),
    "version": SUITE.test_a_version_never_changes,
    "trusted": SUITE.test_what_is_not_to_be_trusted_never_appears,
    "nothing": lambda record, place, _, folder: SUITE.test_nothing_there_is_a_remote_error(record, place, folder),
}


def attempt(test: str, fault: str, folder: Path) -> None:
    (folder / "place").mkdir()
    TESTS[test](remote(fault), str(folder / "place"), make_release(folder / "made", "Q4_K_M"), folder)


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_remote_passes(test: str, tmp_path: Path) -> None:
    attempt(test, "", tmp_path)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("changes the release", "comes back"),
        ("loses a file", "comes back"),
        ("has a choice that loses a file", "choice"),
        ("appears before it is verified", "comes back"),
        ("appears before it is verified", "trusted"),
        ("verifies nothing", "comes back"),
        ("verifies nothing", "trusted"),
        ("moves all again", "second"),
        ("replaces a version", "version"),
        ("says nothing of what is not there", "nothing"),
    ],
)
def test_a_remote_is_caught_that(fault: str, test: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=r"^little_plugin: remote folder: "):
        attempt(test, fault, tmp_path)
