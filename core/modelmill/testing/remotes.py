"""What a remote has to keep to: a suite that a plugin's tests subclass."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill.decode import DecodeError, decode
from modelmill.errors import RemoteError
from modelmill.testing import plugins
from modelmill.testing.artifacts import make_artifact
from modelmill.testing.folders import contents, snapshot
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

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """One test for every value of every option that is a choice."""
        if "choice" in metafunc.fixturenames:
            plugins.parametrize_choices(metafunc, plugins.remote(cls.plugin, cls.scheme).options)

    def make_place(self, folder: Path) -> str:
        """Make a place where nothing is published yet, in an empty folder if need be; return what follows `scheme://`."""
        raise NotImplementedError("make a place to publish to: def make_place(self, folder: Path) -> str")

    @pytest.fixture
    def record(self) -> Remote[Any]:
        """The remote under test."""
        return plugins.remote(self.plugin, self.scheme)

    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        """Where nothing is published yet."""
        (tmp_path / "place").mkdir()
        return self.make_place(tmp_path / "place")

    @pytest.fixture
    def made(self, tmp_path: Path) -> Path:
        """A finished release, unsigned."""
        return make_release(tmp_path / "made", "Q4_K_M")

    def publish(
        self, record: Remote[Any], folder: Path, place: str, options: Mapping[str, Any] | None = None
    ) -> Published:
        """Publish a release as it is."""
        filled = decode(record.options, {**self.options, **(options or {})})
        return record.publish(Publication(release=folder, reference=place, options=filled))

    def pull(
        self,
        record: Remote[Any],
        reference: str,
        output: Path,
        verify: Verify,
        options: Mapping[str, Any] | None = None,
    ) -> Pulled:
        """Pull one target of a release."""
        scratch = output.parent / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        filled = decode(record.options, {**self.options, **(options or {})})
        return record.pull(
            PullJob(reference=reference, output=output, scratch=scratch, options=filled, verify=verify, target=TARGET)
        )

    def test_a_release_comes_back_as_it_was(self, record: Remote[Any], place: str, made: Path, tmp_path: Path) -> None:
        self._check_way(record, place, made, tmp_path, {})

    def test_every_choice_of_every_option_works(
        self, record: Remote[Any], place: str, made: Path, tmp_path: Path, choice: tuple[str, Any]
    ) -> None:
        if choice[0]:
            self._check_way(record, place, made, tmp_path, {choice[0]: choice[1]})

    def test_a_second_publish_moves_nothing(self, record: Remote[Any], place: str, made: Path) -> None:
        with self._sound("publish"):
            first, second = self.publish(record, made, place), self.publish(record, made, place)
        assert first.bytes_moved > 0, f"{self}: says that the first publish moved nothing"
        is_same = (second.reference, second.digest) == (first.reference, first.digest)
        assert is_same, f"{self}: the same release, published again, is {second.reference} and not {first.reference}"
        assert second.bytes_moved == 0, f"{self}: moves {second.bytes_moved} bytes that are there already"

    def test_a_version_never_changes(self, record: Remote[Any], place: str, made: Path, tmp_path: Path) -> None:
        with self._sound("publish"):
            published = self.publish(record, made, place)
        with self._refused(RemoteError, "other content under a version that is published"):
            self.publish(record, make_release(tmp_path / "other", "Q8_0"), place)
        with self._sound("publish"):
            digest = self.publish(record, made, place).digest
        assert digest == published.digest, f"{self}: a version changed"

    def test_what_is_not_to_be_trusted_never_appears(
        self, record: Remote[Any], place: str, made: Path, tmp_path: Path
    ) -> None:
        with self._sound("publish"):
            published = self.publish(record, made, place)

        def refuse(folder: Path, target: str) -> None:
            raise ArtifactError(f"{folder.name}: {target} is not to be trusted")

        output = tmp_path / "here" / "out"
        with self._refused(ArtifactError, "a release that `verify` refuses", "is not to be trusted"):
            self.pull(record, published.reference, output, refuse)
        left = {path.name for path in output.parent.iterdir()} - {"scratch"}
        assert left == set(), f"{self}: leaves {', '.join(left)} of what is not to be trusted"

    def test_nothing_there_is_a_remote_error(self, record: Remote[Any], place: str, tmp_path: Path) -> None:
        output = tmp_path / "here" / "out"
        with self._refused(RemoteError, "a reference where nothing is"):
            self.pull(record, place, output, _trust)
        assert not output.exists(), f"{self}: makes a folder of nothing"

    def test_unknown_options_are_rejected(self, record: Remote[Any]) -> None:
        with self._refused(DecodeError, "an option that is none of its own", "unknown key"):
            decode(record.options, {**self.options, "no_such_option": 1})

    def _check_way(self, record: Remote[Any], place: str, made: Path, folder: Path, options: Mapping[str, Any]) -> None:
        """Publish, pull, and see that what came is what went, verified before it appeared."""
        told = f"{self}: " + "".join(f"{name} = {value!r}: " for name, value in options.items())
        before = snapshot(made)
        with self._sound("publish"):
            published = self.publish(record, made, place, options)
        assert snapshot(made) == before, f"{told}changes the release that it publishes"
        output = folder / "here" / "out"
        seen = []

        def verify(found: Path, target: str) -> None:
            seen.append((contents(found), target, output.exists()))

        with self._sound("pull"):
            pulled = self.pull(record, published.reference, output, verify, options)
        came = (pulled.target, pulled.digest)
        assert came == (TARGET, published.digest), f"{told}pulls {came}, and published {published.digest}"
        assert contents(output) == _wanted(made), f"{told}what is pulled is not what was published"
        assert seen == [(_wanted(made), TARGET, False)], f"{told}all of it is verified, once, before it appears"


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
