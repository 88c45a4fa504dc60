"""What a packager has to keep to: a suite that a plugin's tests subclass."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill.decode import DecodeError, decode
from modelmill.errors import ConvertError
from modelmill.testing import plugins
from modelmill.testing.artifacts import make_artifact
from modelmill.testing.folders import contents, snapshot
from modelmill.testing.suite import Suite
from modelmill.types import Hardware, PackageJob, Packager


class PackagerSuite(Suite):
    """Subclass it and name the plugin and the packager."""

    hook: ClassVar[str] = "packagers"
    name: ClassVar[str]
    """The packager's name."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Options for every run, where the packager has some without a default."""
    hardware: ClassVar[Mapping[str, Any]] = {}
    """The fields of the target's hardware profile, where the packager reads some."""
    memory: ClassVar[int | None] = None
    """Bytes that the artifact needs to run there."""

    def make_artifact(self, folder: Path) -> None:
        """Put an artifact that it packages into an empty folder."""
        formats = plugins.packager(self.plugin, self.name).formats
        make_artifact(folder, model_format=formats[0] if formats else "gguf")

    @pytest.fixture
    def record(self) -> Packager[Any]:
        """The packager under test."""
        return plugins.packager(self.plugin, self.name)

    @pytest.fixture
    def artifact(self, tmp_path: Path) -> Path:
        """What it packages."""
        (tmp_path / "artifact").mkdir()
        self.make_artifact(tmp_path / "artifact")
        return tmp_path / "artifact"

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """One test for every value of every option that is a choice."""
        if "choice" in metafunc.fixturenames:
            plugins.parametrize_choices(metafunc, plugins.packager(cls.plugin, cls.name).options)

    def package(
        self, record: Packager[Any], artifact: Path, out: Path, options: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Package into a new folder and say what is there then."""
        out.mkdir(parents=True)
        record.package(
            PackageJob(
                artifact=artifact,
                out=out,
                options=decode(record.options, {**self.options, **(options or {})}),
                hardware=Hardware(fields=self.hardware) if self.hardware else None,
                memory=self.memory,
            )
        )
        return contents(out)

    def test_same_artifact_gives_same_bytes_wherever_it_lies(
        self, record: Packager[Any], artifact: Path, tmp_path: Path
    ) -> None:
        self._check_bytes(record, artifact, tmp_path, {})

    def test_every_choice_of_every_option_works_or_is_refused(
        self, record: Packager[Any], artifact: Path, tmp_path: Path, choice: tuple[str, Any]
    ) -> None:
        if choice[0]:
            self._check_bytes(record, artifact, tmp_path, {choice[0]: choice[1]})

    def test_artifact_and_working_folder_stay_as_they_were(
        self, record: Packager[Any], artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cwd").mkdir()
        monkeypatch.chdir(tmp_path / "cwd")
        before = snapshot(artifact)
        with self._sound("package"):
            self.package(record, artifact, tmp_path / "out")
        assert snapshot(artifact) == before, f"{self}: changes the artifact, which is read-only"
        assert list((tmp_path / "cwd").iterdir()) == [], f"{self}: writes into its working folder"

    def test_unknown_options_are_rejected(self, record: Packager[Any]) -> None:
        with self._refused(DecodeError, "an option that is none of its own", "unknown key"):
            decode(record.options, {**self.options, "no_such_option": 1})

    def _check_bytes(self, record: Packager[Any], artifact: Path, folder: Path, options: Mapping[str, Any]) -> None:
        """Package in two places and compare; with options of a choice it may be refused, in words."""
        told = "".join(f"{name} = {value!r}: " for name, value in options.items())
        with self._sound(f"{told}package"):
            try:
                first = self.package(record, artifact, folder / "first", options)
            except ConvertError as error:
                if not options:
                    raise
                if not str(error).strip():
                    pytest.fail(f"{self}: {told}refuses without a word")
                return
        assert first, f"{self}: {told}the package is empty"
        (folder / "another place").mkdir()
        moved = artifact.rename(folder / "another place" / "artifact")
        for path in moved.rglob("*"):
            path.touch()
        with self._sound(f"{told}package"):
            second = self.package(record, moved, folder / "another place" / "second", options)
        assert second == first, f"{self}: {told}the bytes depend on where the artifact lies, or on its times"
