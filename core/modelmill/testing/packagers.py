"""What a packager has to keep to: a suite that a plugin's tests subclass."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelmill.decode import DecodeError, decode
from modelmill.testing.artifacts import make_artifact
from modelmill.testing.folders import contents, snapshot
from modelmill.testing.plugins import packager
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
        formats = packager(self.plugin, self.name).formats
        make_artifact(folder, model_format=formats[0] if formats else "gguf")

    @pytest.fixture
    def record(self) -> Packager[Any]:
        """The packager under test."""
        return packager(self.plugin, self.name)

    @pytest.fixture
    def artifact(self, tmp_path: Path) -> Path:
        """What it packages."""
        (tmp_path / "artifact").mkdir()
        self.make_artifact(tmp_path / "artifact")
        return tmp_path / "artifact"

    def package(self, record: Packager[Any], artifact: Path, out: Path) -> dict[str, str]:
        """Package into a new folder and say what is there then."""
        out.mkdir(parents=True)
        record.package(
            PackageJob(
                artifact=artifact,
                out=out,
                options=decode(record.options, self.options),
                hardware=Hardware(fields=self.hardware) if self.hardware else None,
                memory=self.memory,
            )
        )
        return contents(out)

    def test_same_artifact_gives_same_bytes_wherever_it_lies(
        self, record: Packager[Any], artifact: Path, tmp_path: Path
    ) -> None:
        first = self.package(record, artifact, tmp_path / "first")
        assert first, "the package is empty"
        (tmp_path / "another place").mkdir()
        moved = artifact.rename(tmp_path / "another place" / "artifact")
        for path in moved.rglob("*"):
            path.touch()
        assert self.package(record, moved, tmp_path / "another place" / "second") == first

    def test_artifact_and_working_folder_stay_as_they_were(
        self, record: Packager[Any], artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cwd").mkdir()
        monkeypatch.chdir(tmp_path / "cwd")
        before = snapshot(artifact)
        self.package(record, artifact, tmp_path / "out")
        assert snapshot(artifact) == before
        assert list((tmp_path / "cwd").iterdir()) == []

    def test_unknown_options_are_rejected(self, record: Packager[Any]) -> None:
        with pytest.raises(DecodeError, match="unknown key"):
            decode(record.options, {**self.options, "no_such_option": 1})
