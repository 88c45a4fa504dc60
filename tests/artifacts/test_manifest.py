import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelmill_artifacts import canonical, schema, tree
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.manifest import File, Manifest, dump, load
from modelmill_artifacts.release import Release

SCHEMAS = Path(schema.__file__).parent / "schemas"


def described(document: type[Any], title: str) -> dict[str, Any]:
    return schema.describe(document, title, {"schema_version": 1})


@pytest.fixture(scope="session")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / "artifact.schema.json").read_bytes()))


def changed(found: Manifest, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    value = json.loads(dump(found))
    edit(value)
    return canonical.pretty(value)


def with_path(found: Manifest, *paths: str) -> bytes:
    def edit(value: dict[str, Any]) -> None:
        value["files"] = [{"path": path, "sha256": "0" * 64, "size": 1} for path in paths]

    return changed(found, edit)


def test_a_manifest_is_read_back_equal(manifest: Manifest) -> None:
    assert load(dump(manifest)) == manifest


@pytest.mark.parametrize(
    ("document", "name", "title"),
    [
        (Manifest, "artifact.schema.json", "modelmill artifact manifest"),
        (Release, "release.schema.json", "modelmill release index"),
    ],
)
def test_the_published_schema_describes_the_record(
    document: type[Any], name: str, title: str, request: pytest.FixtureRequest
) -> None:
    data = canonical.pretty(described(document, title))
    if request.config.getoption("--update-goldens"):
        (SCHEMAS / name).write_bytes(data)
    assert (SCHEMAS / name).read_bytes() == data


def test_the_schema_admits_what_is_written(manifest: Manifest, validator: Any) -> None:
    validator.validate(json.loads(dump(manifest)))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda value: value.update(schema_version=2), "schema version 2 is unknown"),
        (lambda value: value.update(schema_version=True), "schema version True is unknown"),
        (lambda value: value.pop("schema_version"), "schema version None is unknown"),
        (lambda value: value.update(licens="MIT"), "unknown key 'licens'; did you mean 'licence'"),
        (lambda value: value.pop("sources"), "'sources' is missing"),
        (lambda value: value["files"][0].update(mode=7), "files\\[0\\]: unknown key 'mode'"),
        (lambda value: value["files"][0].update(size=-1), "files\\[0\\]: size: must be 0 or more"),
        (lambda value: value["files"][0].update(size=True), "size: must be a whole number, not True"),
        (lambda value: value["files"][0].update(sha256="A" * 64), "64 lower-case hexadecimal"),
        (lambda value: value["files"].reverse(), "not in the order of their paths"),
        (lambda value: value.update(name=""), "name: must be one line"),
        (lambda value: value.update(target="a\nb"), "target: must be one line"),
        (lambda value: value.update(files={}), "files: must be an array"),
        (lambda value: value.update(flags=[]), "flags: must be an object"),
    ],
)
def test_a_manifest_that_is_not_exactly_one_is_refused(
    manifest: Manifest, edit: Callable[[dict[str, Any]], Any], said: str
) -> None:
    with pytest.raises(ArtifactError, match=said):
        load(changed(manifest, edit))


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["/etc/passwd"], "absolute"),
        (["../x"], "leaves the folder"),
        (["a/../../x"], "leaves the folder"),
        (["a\\b"], "not allowed in a path"),
        (["C:x"], "not allowed in a path"),
        (["a//b"], "not a plain relative path"),
        (["./a"], "not a plain relative path"),
        (["a/"], "not a plain relative path"),
        (["a."], "ends with a dot"),
        (["a", "a"], "listed twice"),
        (["README", "readme"], "one file where case does not count"),
        (["e\u0301", "\u00e9"], "one file where case does not count"),
        (["A", "a/b"], "needs it to be a folder"),
        (["artifact.json"], "listed twice"),
        (["MODEL.SIG"], "one file where case does not count"),
    ],
)
def test_a_path_that_some_file_system_reads_otherwise_is_refused(
    manifest: Manifest, paths: list[str], said: str
) -> None:
    with pytest.raises(ArtifactError, match=said):
        load(with_path(manifest, *paths))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"schema_version": 1, "schema_version": 1}',
        b"\xff",
        b'{"a": NaN}',
        b'"\\ud800"',
    ],
)
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        load(data)


def test_another_spelling_of_the_same_content_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ArtifactError, match="canonical form"):
        load(dump(manifest) + b"\n")


def test_whatever_cannot_be_read_is_not_written(manifest: Manifest) -> None:
    with pytest.raises(ArtifactError, match="leaves the folder"):
        dump(replace(manifest, files=(File(path="../x", sha256="0" * 64, size=0),)))


def test_a_whole_folder_passes(runtime_folder: Path, manifest: Manifest) -> None:
    tree.check_folder(runtime_folder, manifest, ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "LICENSE").unlink(), "'LICENSE' is missing"),
        (lambda folder: (folder / "x").touch(), "'x' is not part of it"),
        (lambda folder: (folder / ".hidden").touch(), "'.hidden' is not part of it"),
        (lambda folder: (folder / ".git").mkdir(), "'.git' is an empty folder"),
        (lambda folder: (folder / "LICENSE").write_text(""), "'LICENSE' has 0 bytes"),
        (lambda folder: (folder / "link").symlink_to("LICENSE"), "'link' is a symbolic link"),
        (lambda folder: os.mkfifo(folder / "pipe"), "'pipe' is neither a file nor a folder"),
    ],
)
def test_a_folder_that_is_not_the_manifests_is_refused(
    runtime_folder: Path, manifest: Manifest, change: Callable[[Path], Any], said: str
) -> None:
    change(runtime_folder)
    with pytest.raises(ArtifactError, match=said):
        tree.check_folder(runtime_folder, manifest, ())
