from pathlib import Path

import pytest
from source_parts.fetching import fetch

from modelmill import Location, SourceError
from modelmill_sources.path import SOURCE


def at(base: Path, uri: str, revision: str | None = None) -> Location:
    return Location(uri=uri, revision=revision, base=base)


def test_a_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    for name in ("model/config.json", "model/sub/a.txt", "model/.git/HEAD", "model/.gitattributes"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "model" / "link.json").symlink_to(tmp_path / "model" / "config.json")
    found = SOURCE.resolve(at(tmp_path, "model"), tmp_path / "scratch")
    assert found.root == tmp_path / "model"
    assert [file.path for file in found.files] == ["config.json", "link.json", "sub/a.txt"]
    assert found.files[0].size == len("model/config.json")
    assert str(tmp_path) not in found.revision
    assert fetch(SOURCE, at(tmp_path, "model"), found.files, tmp_path)["sub/a.txt"] == b"model/sub/a.txt"


def test_a_file_is_a_folder_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / "other").touch()
    found = SOURCE.resolve(at(tmp_path, str(tmp_path / "x.gguf")), tmp_path)
    assert (found.root, [(file.path, file.size) for file in found.files]) == (tmp_path, [("x.gguf", 4)])


@pytest.mark.parametrize(
    ("uri", "revision", "sentence"),
    [
        ("gone", None, "no such file or folder"),
        ("empty", None, "the folder is empty"),
        ("empty", "main", "a folder has no revision"),
    ],
)
def test_what_cannot_be_resolved_is_told(tmp_path: Path, uri: str, revision: str | None, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=sentence):
        SOURCE.resolve(at(tmp_path, uri, revision), tmp_path)
