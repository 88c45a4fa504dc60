"""What a remote has to keep to: a suite that a plugin's tests subclass."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill.decode import DecodeError, decode
from modelmill.errors import RemoteError
from modelmill.testing.artifacts import make_artifact
from modelmill.testing.folders import contents, snapshot
from modelmill.testing.plugins import remote
from modelmill.testing.suite import Suite
from modelmill.types import Publication, Published, Pulled, PullJob, Remote
from modelmill_artifacts import release
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.release import RELEASE

TARGETS = ("desktop", "laptop")
TARGET = "laptop"
"""The one that is pulled."""

Verify = Callable[[Path, str], None]


class RemoteSuite(Suite):
    """Subclass it, name the plugin and the URI's scheme, and make a place to publish to."""

    hook: ClassVar[str] = "remotes"
    scheme: ClassVar[str]
    """The scheme of its URIs."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Options for every run, where the remote has some without a default."""

    @classmethod
    def names(cls) -> Iterator[str]:
        """The scheme of its URIs."""
        yield cls.scheme

    def make_place(self, folder: Path) -> str:
        """Make a place where nothing is published yet, in an empty folder if need be; return what follows `scheme://`."""
        raise NotImplementedError("make a place to publish to: def make_place(self, folder: Path) -> str")

    @pytest.fixture
    def record(self) -> Remote[Any]:
        """The remote under test."""
        return remote(self.plugin, self.scheme)

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        """Where nothing is published yet."""
        (tmp_path / "place").mkdir()
        return self.make_place(tmp_path / "place")

    @pytest.fixture
    def made(self, tmp_path: Path) -> Path:
        """A finished release, unsigned."""
        return make_release(tmp_path / "made", "Q4_K_M")

    def publish(self, record: Remote[Any], folder: Path, place: str) -> Published:
        """Publish a release as it is."""
        return record.publish(
            Publication(release=folder, reference=place, options=decode(record.options, self.options))
        )

    def pull(self, record: Remote[Any], reference: str, output: Path, verify: Verify) -> Pulled:
        """Pull one target of a release."""
        scratch = output.parent / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        options = decode(record.options, self.options)
        return record.pull(
            PullJob(reference=reference, output=output, scratch=scratch, options=options, verify=verify, target=TARGET)
        )

    def test_a_release_comes_back_as_it_was(self, record: Remote[Any], place: str, made: Path, tmp_path: Path) -> None:
        before = snapshot(made)
        published = self.publish(record, made, place)
        assert snapshot(made) == before, "publishing only reads"
        output = tmp_path / "here" / "out"
        seen = []

        def verify(folder: Path, target: str) -> None:
            assert not output.exists(), "verified before it appears"
            seen.append((contents(folder), target))

        pulled = self.pull(record, published.reference, output, verify)
        assert (pulled.target, pulled.digest) == (TARGET, published.digest)
        assert contents(output) == _wanted(made)
        assert seen == [(_wanted(made), TARGET)], "all of it is verified, once"

    def test_a_second_publish_moves_nothing(self, record: Remote[Any], place: str, made: Path) -> None:
        first = self.publish(record, made, place)
        assert first.bytes_moved > 0
        second = self.publish(record, made, place)
        assert (second.reference, second.digest) == (first.reference, first.digest)
        assert second.bytes_moved == 0

    def test_a_version_never_changes(self, record: Remote[Any], place: str, made: Path, tmp_path: Path) -> None:
        published = self.publish(record, made, place)
        with pytest.raises(RemoteError) as raised:
            self.publish(record, make_release(tmp_path / "other", "Q8_0"), place)
        assert str(raised.value).strip()
        assert self.publish(record, made, place).digest == published.digest

    def test_what_is_not_to_be_trusted_never_appears(
        self, record: Remote[Any], place: str, made: Path, tmp_path: Path
    ) -> None:
        published = self.publish(record, made, place)

        def refuse(folder: Path, target: str) -> None:
            raise ArtifactError(f"{folder.name}: {target} is not to be trusted")

        output = tmp_path / "here" / "out"
        with pytest.raises(ArtifactError, match="is not to be trusted"):
            self.pull(record, published.reference, output, refuse)
        assert {path.name for path in output.parent.iterdir()} <= {"scratch"}

    def test_nothing_there_is_a_remote_error(self, record: Remote[Any], place: str, tmp_path: Path) -> None:
        output = tmp_path / "here" / "out"
        with pytest.raises(RemoteError) as raised:
            self.pull(record, place, output, _trust)
        assert str(raised.value).strip()
        assert not output.exists()

    def test_unknown_options_are_rejected(self, record: Remote[Any]) -> None:
        with pytest.raises(DecodeError, match="unknown key"):
            decode(record.options, {**self.options, "no_such_option": 1})


def make_release(folder: Path, scheme: str) -> Path:
    """Write an unsigned release of two targets into `folder` and return it; another scheme is other content."""
    for target in TARGETS:
        make_artifact(folder / target, scheme=scheme, target=target)
    (folder / RELEASE).write_bytes(release.dump(release.index(folder, TARGETS)))
    return folder


def _wanted(folder: Path) -> dict[str, str]:
    """What a pull of one target brings: the index, and the target's folder."""
    return {
        path: digest for path, digest in contents(folder).items() if path == RELEASE or path.startswith(f"{TARGET}/")
    }


def _trust(folder: Path, target: str) -> None:
    """Have no objection."""
